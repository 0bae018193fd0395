"""Reserved addresses, of regions and global. Nothing can use one here; what counts is that they are there, and cost."""

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

RESERVED = ipaddress.IPv4Network("198.51.100.0/24")  # RFC 5737: for documentation, nobody's


class Addresses(Collection):
    """``regions/r/addresses`` or ``global/addresses``."""

    def __init__(self, parts: Parts, base: str) -> None:
        super().__init__(parts, "addresses", "address", base)

    def rules(self) -> list[Rule]:
        permission = "compute.addresses" if self.base.startswith(REGION) else "compute.globalAddresses"
        one = self.base + "/{name}"
        fields = request_fields.ADDRESS
        return [
            Rule(method="GET", path=self.base, act=self.list_all, permission=f"{permission}.list"),
            Rule(method="GET", path=one, act=self.get, permission=f"{permission}.get"),
            Rule(method="POST", path=self.base, act=self.insert, permission=f"{permission}.create", fields=fields),
            Rule(method="DELETE", path=one, act=self.delete, permission=f"{permission}.delete"),
            Rule(
                method="POST",
                path=one + "/setLabels",
                act=self.set_labels,
                permission=f"{permission}.setLabels",
                fields=request_fields.LABELS,
            ),
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

        async def undo() -> None:
            self.parts.store.delete(key)

        return self.parts.operations.begin("insert", key, user=call.caller.email, undo=undo)

    def delete(self, call: Call) -> Document:
        key, _ = self.find(call)

        async def remove() -> None:
            self.parts.store.delete(key)

        return self.parts.operations.begin("delete", key, user=call.caller.email, work=remove)

    def _free_address(self) -> str:
        taken = {found["address"] for _, found in all_addresses(self.parts)}
        return next(str(one) for one in RESERVED.hosts() if str(one) not in taken)


def all_addresses(parts: Parts) -> Sequence[tuple[str, Document]]:
    """The addresses of all regions, and the global ones."""
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
