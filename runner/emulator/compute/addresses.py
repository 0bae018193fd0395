"""Reserved addresses, regional and global. Nothing can use one here: they only exist, and cost money."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from runner.emulator.compute.resources import GLOBAL, REGION, V1, Collection, Parts
from runner.emulator.http import Call, Rule
from runner.emulator.state import REGIONS, Document
from runner.emulator.wire import (
    aggregated_document,
    check_choice,
    check_labels,
    check_name,
    fresh_fingerprint,
    request_fields,
)

RESERVED = ipaddress.IPv4Network("198.51.100.0/24")  # RFC 5737: reserved for documentation


class Addresses(Collection):
    """``regions/r/addresses`` or ``global/addresses``."""

    def __init__(self, parts: Parts, base: str) -> None:
        permission = "compute.addresses" if base == REGION else "compute.globalAddresses"
        super().__init__(parts, "addresses", "address", base, permission=permission)

    def rules(self) -> list[Rule]:
        return [
            self.rule("GET", self.base, "list", self.list_all),
            self.rule("GET", self.one, "get", self.get),
            self.rule("POST", self.base, "create", self.insert, request_fields.ADDRESS),
            self.rule("DELETE", self.one, "delete", self.delete),
            self.label_rule(),
        ]

    def insert(self, call: Call) -> Document:
        check_name(call.body.get("name"))
        check_labels(call.body.get("labels"), field="resource.labels")
        kind = call.body.get("addressType") or "EXTERNAL"
        check_choice(kind, ("EXTERNAL", "INTERNAL"), field="resource.addressType")
        key, document = self.new_document(call, call.body)
        document.setdefault("networkTier", "PREMIUM")
        document.setdefault("ipVersion", "IPV4")
        document.update(
            address=call.body.get("address") or self._free_address(),
            addressType=kind,
            status="RESERVED",
            labelFingerprint=fresh_fingerprint(),
        )
        self.parts.store.put(key, document)
        return self.begin("insert", key, call, undo=lambda: self.forget(key))

    def delete(self, call: Call) -> Document:
        key, _ = self.find(call)
        return self.begin("delete", key, call, work=lambda: self.forget(key))

    def _free_address(self) -> str:
        taken = {found["address"] for _, found in all_addresses(self.parts)}
        return next(str(one) for one in RESERVED.hosts() if str(one) not in taken)


def all_addresses(parts: Parts) -> Sequence[tuple[str, Document]]:
    """Return the addresses of all regions, and the global ones."""
    found = parts.store.items(f"projects/{parts.settings.project}/")
    return [(key, document) for key, document in found if key.split("/")[-2] == "addresses"]


def address_rules(parts: Parts) -> list[Rule]:
    def aggregate(call: Call) -> Document:
        scopes = ["global", *(f"regions/{region}" for region in REGIONS)]
        path = f"projects/{call.project}/aggregated/addresses"
        return aggregated_document("address", "addresses", path, all_addresses(parts), scopes, call.query)

    every = f"{V1}/aggregated/addresses"
    return [
        Rule(method="GET", path=every, act=aggregate, permission="compute.addresses.list"),
        *Addresses(parts, REGION).rules(),
        *Addresses(parts, GLOBAL).rules(),
    ]
