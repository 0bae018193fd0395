"""Networks, subnetworks, firewalls, routers (with their NATs): documents that refer to each other, without any effect."""

from __future__ import annotations

import ipaddress
from typing import Any

from runner.emulator.compute.resources import GLOBAL, REGION, V1, Collection, Parts, find_user
from runner.emulator.http import Call, Rule
from runner.emulator.state import REGIONS, Document
from runner.emulator.wire import (
    api_errors,
    check_choice,
    check_name,
    compute_time,
    fresh_fingerprint,
    link,
    list_document,
    read_int,
    relative,
    request_fields,
    scope_of,
    without_blanks,
)


class _Network(Collection):
    """Insert, patch and delete, the same for these four; ``complete`` adds the fields that Google adds."""

    fields: Any = request_fields.NETWORK

    def rules(self) -> list[Rule]:
        return [
            *self.read_rules(),
            self.rule("POST", self.base, "create", self.insert, self.fields),
            self.rule("PATCH", self.one, "update", self.patch, self.fields),
            self.rule("DELETE", self.one, "delete", self.delete),
        ]

    def insert(self, call: Call) -> Document:
        check_name(call.body.get("name"))
        key, document = self.new_document(call, call.body)
        self.complete(document, call.body)
        self.parts.store.put(key, document)
        return self.begin("insert", key, call, undo=lambda: self.forget(key))

    def complete(self, document: Document, body: Document) -> None:
        raise NotImplementedError

    def patch(self, call: Call) -> Document:
        key, document = self.find(call)
        if call.body.get("fingerprint") not in (None, document.get("fingerprint")):
            raise api_errors.stale_metadata()
        merged = _merge(document, {name: value for name, value in call.body.items() if name != "fingerprint"})
        self.complete(merged, merged)
        self.parts.store.put(key, merged)
        return self.begin("patch", key, call)

    def delete(self, call: Call) -> Document:
        key, _ = self.find(call)
        user = find_user(self.parts.store, key)
        if user is not None:
            raise api_errors.in_use(self.kind, key, user)
        return self.begin("delete", key, call, work=lambda: self.forget(key))


def _merge(old: Document, new: Document) -> Document:
    """Apply a JSON merge patch (RFC 7396). An empty list removes a field, as Google's responses leave it out."""
    merged = dict(old)
    for key, value in new.items():
        if value is None or value == []:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = without_blanks(value)
    return merged


def _usable(subnetwork: Document) -> Document:
    shown: Document = {
        key: subnetwork[key] for key in ("network", "ipCidrRange", "stackType", "purpose") if key in subnetwork
    }
    return {"subnetwork": subnetwork["selfLink"], **shown}


class Networks(_Network):
    """``global/networks``."""

    fields = request_fields.NETWORK

    def complete(self, document: Document, body: Document) -> None:
        routing = document.setdefault("routingConfig", {})
        check_choice(routing.get("routingMode"), ("REGIONAL", "GLOBAL"), field="resource.routingConfig.routingMode")
        routing.setdefault("routingMode", "REGIONAL")
        routing.setdefault("bgpBestPathSelectionMode", "LEGACY")
        document.setdefault("networkFirewallPolicyEnforcementOrder", "AFTER_CLASSIC_FIREWALL")
        document["autoCreateSubnetworks"] = bool(body.get("autoCreateSubnetworks"))
        document["selfLinkWithId"] = document["selfLink"].rsplit("/", 1)[0] + "/" + document["id"]


class Subnetworks(_Network):
    """``regions/r/subnetworks``."""

    fields = request_fields.SUBNETWORK

    def rules(self) -> list[Rule]:
        changes = {
            "setPrivateIpGoogleAccess": {"privateIpGoogleAccess": bool},
            "expandIpCidrRange": {"ipCidrRange": str},
        }
        return [
            self.rule("GET", f"{V1}/aggregated/{self.name}/listUsable", "list", self.list_usable),
            *super().rules(),
            *(self.rule("POST", f"{self.one}/{verb}", verb, self.patch, fields) for verb, fields in changes.items()),
        ]

    def list_usable(self, call: Call) -> Document:
        """List the subnetworks of all regions that the caller may use: here, all that exist."""
        found = self.parts.store.items(f"projects/{call.project}/regions/")
        entries = [(key, _usable(document)) for key, document in found if key.split("/")[-2] == self.name]
        path = f"projects/{call.project}/aggregated/{self.name}"
        return list_document("usableSubnetworksAggregated", path, entries, call.query)

    def complete(self, document: Document, body: Document) -> None:
        text = body.get("ipCidrRange")
        if not text:
            raise api_errors.required("resource.ipCidrRange")
        try:
            block = ipaddress.IPv4Network(text)
        except ValueError as error:
            why = "Must be a CIDR address range."
            raise api_errors.invalid_field("resource.ipCidrRange", text, why) from error
        document.update(
            network=link(self.parts.references.network(body.get("network"))),
            gatewayAddress=str(block[1] if block.num_addresses > 1 else block[0]),
            fingerprint=fresh_fingerprint(),
            privateIpGoogleAccess=bool(body.get("privateIpGoogleAccess")),
        )
        for name, value in _SUBNETWORK_DEFAULTS.items():
            document.setdefault(name, value)
        self._check_overlap(document, block)

    def _check_overlap(self, document: Document, block: ipaddress.IPv4Network) -> None:
        for _, other in self.parts.store.items(f"projects/{self.parts.settings.project}/regions/"):
            if not _is_neighbour(other, document):
                continue
            if block.overlaps(ipaddress.IPv4Network(other["ipCidrRange"])):
                raise api_errors.invalid(
                    f"Invalid IPCidrRange: {block} conflicts with existing subnetwork '{other['name']}' in region "
                    f"'{relative(other['region']).split('/')[3]}'."
                )


def _is_neighbour(other: Document, document: Document) -> bool:
    """Return whether ``other`` is another subnetwork of the same network."""
    return (
        other.get("kind") == "compute#subnetwork"
        and other["selfLink"] != document["selfLink"]
        and other["network"] == document["network"]
    )


_SUBNETWORK_DEFAULTS: Document = {
    "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS",
    "purpose": "PRIVATE",
    "stackType": "IPV4_ONLY",
    "allowSubnetCidrRoutesOverlap": False,
    "enableFlowLogs": False,
    "logConfig": {"enable": False},
}


class Firewalls(_Network):
    """``global/firewalls``."""

    fields = request_fields.FIREWALL

    def complete(self, document: Document, body: Document) -> None:
        if not body.get("allowed") and not body.get("denied"):
            raise api_errors.required("resource.allowed")
        for index, rule in enumerate([*(body.get("allowed") or ()), *(body.get("denied") or ())]):
            if not rule.get("IPProtocol"):
                raise api_errors.required(f"resource.allowed[{index}].IPProtocol")
        _check_ranges(body.get("sourceRanges") or ())
        check_choice(body.get("direction"), ("INGRESS", "EGRESS"), field="resource.direction")
        priority = read_int(body.get("priority", 1000), field="resource.priority")
        if not 0 <= priority <= 65535:
            raise api_errors.invalid_field("resource.priority", priority, "Must be between 0 and 65535.")
        document.update(network=link(self.parts.references.network(body.get("network"))), priority=priority)
        document.update(direction=body.get("direction") or "INGRESS", disabled=bool(body.get("disabled")))
        document.setdefault("logConfig", {"enable": False})


def _check_ranges(ranges: Any) -> None:
    for index, text in enumerate(ranges):
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            why = "Must be a CIDR address range."
            raise api_errors.invalid_field(f"resource.sourceRanges[{index}]", text, why) from error


class Routers(_Network):
    """``regions/r/routers``; a NAT is a part of its router."""

    fields = request_fields.ROUTER

    def complete(self, document: Document, body: Document) -> None:
        document.update(network=link(self.parts.references.network(body.get("network"))))
        document.setdefault("encryptedInterconnectRouter", False)
        if body.get("nats"):
            document["nats"] = [_complete_nat(nat, index) for index, nat in enumerate(body["nats"])]


def _complete_nat(nat: Document, index: int) -> Document:
    check_name(nat.get("name"), field=f"resource.nats[{index}].name")
    if not nat.get("sourceSubnetworkIpRangesToNat"):
        raise api_errors.required(f"resource.nats[{index}].sourceSubnetworkIpRangesToNat")
    return {
        "natIpAllocateOption": "AUTO_ONLY",
        "type": "PUBLIC",
        "endpointTypes": ["ENDPOINT_TYPE_VM"],
        "enableEndpointIndependentMapping": False,
        "enableDynamicPortAllocation": False,
        "autoNetworkTier": "PREMIUM",
        **without_blanks(nat),
    }


def network_rules(parts: Parts) -> list[Rule]:
    return [
        *Networks(parts, "networks", "network", GLOBAL).rules(),
        *Firewalls(parts, "firewalls", "firewall", GLOBAL).rules(),
        *Subnetworks(parts, "subnetworks", "subnetwork", REGION).rules(),
        *Routers(parts, "routers", "router", REGION).rules(),
    ]


def put_default_network(parts: Parts) -> None:
    """Create the network ``default`` with a subnetwork in each region, as in new projects; no firewall allows ingress."""
    key = f"projects/{parts.settings.project}/global/networks/default"
    if parts.store.get(key) is not None:
        return
    networks = Networks(parts, "networks", "network", GLOBAL)
    network = _default_document(parts, key, "network")
    networks.complete(network, {"autoCreateSubnetworks": True})
    parts.store.put(key, network)
    subnetworks = Subnetworks(parts, "subnetworks", "subnetwork", REGION)
    for index, region in enumerate(REGIONS):
        key = f"projects/{parts.settings.project}/regions/{region}/subnetworks/default"
        subnetwork = _default_document(parts, key, "subnetwork")
        subnetwork.update(region=link(scope_of(key)), ipCidrRange=f"10.{128 + 2 * index}.0.0/20")
        subnetworks.complete(subnetwork, {"ipCidrRange": subnetwork["ipCidrRange"]})
        parts.store.put(key, subnetwork)


def _default_document(parts: Parts, key: str, kind: str) -> Document:
    return {
        "kind": f"compute#{kind}",
        "id": parts.store.next_id(),
        "name": "default",
        "creationTimestamp": compute_time(parts.clock.now()),
        "selfLink": link(key),
    }
