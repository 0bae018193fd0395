"""Networks, subnetworks and firewalls."""

from __future__ import annotations

from runner.emulator.provider.compute import ComputeOperations, without_empty
from runner.emulator.provider.links import relative, same_link, same_name
from runner.emulator.provider.resource import Cloud, Edit, ResourceType
from runner.emulator.provider.rest import Answer
from runner.emulator.provider.schema import (
    Field,
    all_fields,
    block,
    collection,
    flag,
    listing,
    location,
    number,
    output,
    outputs,
    project,
    resource_name,
    text,
)
from runner.emulator.provider.values import Properties


def network_link(cloud: Cloud, given: Properties) -> str:
    """Return the partial link of the network that a program names."""
    said = str(given["network"])
    return relative(said) if "/" in said else f"projects/{cloud.location_of(given, 'project')}/global/networks/{said}"


def region_link(cloud: Cloud, given: Properties) -> str:
    """Return a region in the stock plugin's form."""
    return f"projects/{cloud.location_of(given, 'project')}/global/regions/{cloud.location_of(given, 'region')}"


class NetworkOperations(ComputeOperations):
    """compute.Network."""

    collection, noun = "networks", "Network"
    _ORDER = "networkFirewallPolicyEnforcementOrder"

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        routing = {"routingMode": news["routingMode"]} if news.get("routingMode") else None
        named = {key: news.get(key) for key in ("name", "description", "mtu", "autoCreateSubnetworks", self._ORDER)}
        return without_empty(named | {"routingConfig": routing})

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        outputs = {key: found.get(key) for key in ("description", "mtu", "autoCreateSubnetworks", self._ORDER)}
        routing = found.get("routingConfig", {})
        return outputs | {
            "routingMode": routing.get("routingMode"),
            "gatewayIpv4": found.get("gatewayIPv4"),
            "networkId": found.get("id"),
            "numericId": found.get("id"),
            "deleteDefaultRoutesOnCreate": prior.get("deleteDefaultRoutesOnCreate", False),
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        routing = {"routingConfig": {"routingMode": edit.news.get("routingMode")}}
        order = {self._ORDER: edit.news.get(self._ORDER)}
        body = (order if edit.touches(self._ORDER) else {}) | (routing if edit.touches("routingMode") else {})
        if body:
            self.patch(cloud, id, body)


NETWORK = ResourceType(
    token="gcp:compute/network:Network",  # noqa: S106
    operations=NetworkOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        {
            "description": text(replace=True),
            "autoCreateSubnetworks": flag(default=True, replace=True),
            "deleteDefaultRoutesOnCreate": flag(default=False),
            "mtu": number(computed=True, replace=True),
            "routingMode": text(computed=True, choices=("REGIONAL", "GLOBAL")),
            "networkFirewallPolicyEnforcementOrder": text(
                default="AFTER_CLASSIC_FIREWALL", choices=("BEFORE_CLASSIC_FIREWALL", "AFTER_CLASSIC_FIREWALL")
            ),
        },
        outputs("selfLink", "gatewayIpv4", "networkId", "numericId"),
    ),
)


class SubnetworkOperations(ComputeOperations):
    """compute.Subnetwork."""

    collection, level, noun = "subnetworks", "region", "Subnetwork"
    _ECHOED = ("ipCidrRange", "description", "purpose", "role", "stackType", "privateIpGoogleAccess")
    _LOG = ("aggregationInterval", "flowSampling", "metadata")

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        log = {"enable": True, **news["logConfig"]} if news.get("logConfig") else {"enable": False}
        return without_empty(
            {key: news.get(key) for key in ("name", *self._ECHOED)}
            | {"network": network_link(cloud, news), "region": region_link(cloud, news), "logConfig": log}
        )

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        log = found.get("logConfig") or {}
        echoed = (*self._ECHOED, "network", "fingerprint", "gatewayAddress", "privateIpv6GoogleAccess")
        return {key: found.get(key) for key in (*echoed, "creationTimestamp")} | {
            "subnetworkId": int(found["id"]) if found.get("id") else None,
            "logConfig": {key: log.get(key) for key in self._LOG} if log.get("enable") else None,
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        if edit.touches("ipCidrRange"):
            self.act(cloud, id, "expandIpCidrRange", {"ipCidrRange": edit.news["ipCidrRange"]})
        if edit.touches("privateIpGoogleAccess"):
            access = {"privateIpGoogleAccess": edit.news.get("privateIpGoogleAccess", False)}
            self.act(cloud, id, "setPrivateIpGoogleAccess", access)
        if edit.touches("logConfig"):
            log = {"enable": True, **edit.news["logConfig"]} if edit.news.get("logConfig") else {"enable": False}
            self.patch(cloud, id, {"fingerprint": edit.olds.get("fingerprint"), "logConfig": log})


SUBNETWORK = ResourceType(
    token="gcp:compute/subnetwork:Subnetwork",  # noqa: S106
    operations=SubnetworkOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        location("region", same_name),
        {
            "network": text(required=True, replace=True, same=same_link),
            "ipCidrRange": text(computed=True),
            "description": text(replace=True),
            "purpose": text(computed=True, replace=True),
            "role": text(),
            "stackType": text(computed=True),
            "privateIpGoogleAccess": flag(computed=True),
            "privateIpv6GoogleAccess": output(text()),
            "logConfig": block(
                {
                    "aggregationInterval": text(default="INTERVAL_5_SEC"),
                    "flowSampling": number(default=0.5),
                    "metadata": text(default="INCLUDE_ALL_METADATA"),
                }
            ),
            "subnetworkId": output(number()),
        },
        outputs("selfLink", "fingerprint", "gatewayAddress", "creationTimestamp"),
    ),
)


_RULES = {"allows": "allowed", "denies": "denied"}


def _same_rules(old: list[Properties], new: list[Properties]) -> bool:
    def spell(rules: list[Properties]) -> list[tuple[str, list[str]]]:
        return sorted((rule.get("protocol", "").lower(), list(rule.get("ports", []))) for rule in rules)

    return spell(old) == spell(new)


class FirewallOperations(ComputeOperations):
    """compute.Firewall."""

    collection, noun = "firewalls", "Firewall"
    _LISTS = (
        "sourceRanges",
        "sourceTags",
        "sourceServiceAccounts",
        "destinationRanges",
        "targetTags",
        "targetServiceAccounts",
    )
    _PLAIN = ("description", "priority", "disabled", "direction")

    def problems(self, news: Properties) -> list[str]:
        if ("allows" in news) == ("denies" in news):
            return ["one of 'allows', 'denies' must be specified"]
        sources = ("sourceRanges", "sourceTags", "sourceServiceAccounts")
        if news.get("direction", "INGRESS") == "INGRESS" and not any(key in news for key in sources):
            return ["one of source_tags, source_ranges, or source_service_accounts must be defined"]
        return []

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        return without_empty(self._whole(cloud, news) | {"name": news["name"], "direction": news.get("direction")})

    def _whole(self, cloud: Cloud, news: Properties) -> Answer:
        rules = {
            there: [{"IPProtocol": rule["protocol"], **without_empty({"ports": rule.get("ports")})} for rule in given]
            for here, there in _RULES.items()
            for given in [news.get(here, [])]
        }
        lists = {key: sorted(news.get(key, [])) for key in self._LISTS}
        log = {"enable": True, **news["logConfig"]} if news.get("logConfig") else {"enable": False}
        plain = {key: news[key] for key in ("description", "priority", "disabled") if key in news}
        return plain | rules | lists | {"network": network_link(cloud, news), "logConfig": log}

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        rules = {
            here: [{"protocol": rule["IPProtocol"], "ports": rule.get("ports", [])} for rule in found.get(there, [])]
            for here, there in _RULES.items()
        }
        log = found.get("logConfig") or {}
        lists = {key: found.get(key) for key in self._LISTS}
        plain = {key: found.get(key) for key in (*self._PLAIN, "network", "creationTimestamp")}
        return plain | rules | lists | {"logConfig": {"metadata": log.get("metadata")} if log.get("enable") else None}

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        self.patch(cloud, id, {"disabled": False} | self._whole(cloud, edit.news))


def _rules() -> Field:
    ports = listing(text())
    return collection(block({"protocol": text(required=True), "ports": ports}), same=_same_rules)


FIREWALL = ResourceType(
    token="gcp:compute/firewall:Firewall",  # noqa: S106
    operations=FirewallOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        {
            "network": text(required=True, same=same_link),
            "description": text(),
            "allows": _rules(),
            "denies": _rules(),
            "direction": text(computed=True, replace=True, choices=("INGRESS", "EGRESS")),
            "disabled": flag(),
            "priority": number(default=1000),
            "sourceRanges": collection(text(), computed=True),
            "sourceTags": collection(text()),
            "sourceServiceAccounts": collection(text()),
            "destinationRanges": collection(text(), computed=True),
            "targetTags": collection(text()),
            "targetServiceAccounts": collection(text()),
            "logConfig": block({"metadata": text(required=True)}),
        },
        outputs("selfLink", "creationTimestamp"),
    ),
)
