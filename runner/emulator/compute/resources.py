"""What all Compute resources have in common: get, list, aggregated list, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.emulator.compute.operation_records import Operations
from runner.emulator.compute.quotas import Quotas
from runner.emulator.compute.references import References
from runner.emulator.faults import Faults
from runner.emulator.http import Call, Rule
from runner.emulator.iam import Access
from runner.emulator.state import REGIONS, Clock, CloudSettings, Document, Store
from runner.emulator.wire import (
    aggregated_document,
    check_labels,
    compute_time,
    fresh_fingerprint,
    link,
    list_document,
    refusals,
    relative,
    scope_of,
    tail,
    without_blanks,
)
from runner.errors import CloudError

V1 = "/compute/v1/projects/{project}"
ZONE = V1 + "/zones/{zone}"
REGION = V1 + "/regions/{region}"
GLOBAL = V1 + "/global"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every API of the cloud stands on."""

    settings: CloudSettings
    store: Store
    clock: Clock
    faults: Faults
    operations: Operations
    access: Access
    quotas: Quotas
    references: References


class Collection:
    """One kind of resource: ``instances`` under ``ZONE``, say, with the documents' kind ``instance``."""

    def __init__(self, parts: Parts, name: str, kind: str, base: str) -> None:
        self.parts = parts
        self.name = name
        self.kind = kind
        self.base = f"{base}/{name}"

    def read_rules(self) -> list[Rule]:
        """get, list, and aggregatedList where Google has it."""
        rules = [
            Rule(method="GET", path=self.base, act=self.list_all, permission=f"compute.{self.name}.list"),
            Rule(method="GET", path=self.base + "/{name}", act=self.get, permission=f"compute.{self.name}.get"),
        ]
        if not self.base.startswith(GLOBAL):
            path = f"{V1}/aggregated/{self.name}"
            rules.append(Rule(method="GET", path=path, act=self.aggregate, permission=f"compute.{self.name}.list"))
        return rules

    def find(self, call: Call) -> tuple[str, Document]:
        """The path and document of the resource that a call names, or 404."""
        key = call.resource
        document = self.parts.store.get(key)
        if document is None:
            raise refusals.not_found(key)
        return key, document

    def get(self, call: Call) -> Document:
        return self.find(call)[1]

    def list_all(self, call: Call) -> Document:
        path = call.path.split("/v1/", 1)[1]
        entries = [entry for entry in self.parts.store.items(path + "/") if entry[0].count("/") == path.count("/") + 1]
        return list_document(self.kind, path, entries, call.query)

    def aggregate(self, call: Call) -> Document:
        place = "zones" if "/zones/" in self.base else "regions"
        prefix = f"projects/{call.project}/{place}/"
        entries = [entry for entry in self.parts.store.items(prefix) if entry[0].split("/")[4] == self.name]
        path = f"projects/{call.project}/aggregated/{self.name}"
        scopes = self._scopes(place)
        lost = [scope for scope in scopes if self.parts.faults.hit("unreachable", f"{self.name} {scope}")]
        if lost and call.query.get("returnPartialSuccess") != "true":
            raise CloudError(f"Backend error: {', '.join(lost)}", reason="backendError", status=503)
        return aggregated_document(self.kind, self.name, path, entries, scopes, call.query, unreachable=lost)

    def _scopes(self, place: str) -> Sequence[str]:
        names = self.parts.settings.zones if place == "zones" else tuple(REGIONS)
        return [f"{place}/{name}" for name in names]

    def set_labels(self, call: Call) -> Document:
        """The new labels are there at once; the operation only says so."""
        key, document = self.find(call)
        if call.body.get("labelFingerprint") != document["labelFingerprint"]:
            raise refusals.stale_labels()
        check_labels(call.body.get("labels"), field="labels")
        with self.parts.store.edit(key) as changed:
            changed.update(labels=call.body.get("labels") or {}, labelFingerprint=fresh_fingerprint())
        return self.begin("setLabels", key, call)

    def begin(self, kind: str, key: str, call: Call) -> Document:
        """An operation without work of its own."""
        return self.parts.operations.begin(kind, key, user=call.caller.email)

    def new_document(self, call: Call, body: Document) -> tuple[str, Document]:
        """The path of a resource that is to be made, and its document with what all have."""
        key = call.path.split("/v1/", 1)[1] + "/" + body["name"]
        if self.parts.store.get(key) is not None:
            raise refusals.already_exists(key)
        document: Document = {name: value for name, value in without_blanks(body).items() if value not in ([], {})}
        document.pop("params", None)
        document.update(
            kind=f"compute#{self.kind}",
            id=self.parts.store.next_id(),
            name=tail(key),
            creationTimestamp=compute_time(self.parts.clock.now()),
            selfLink=link(key),
        )
        place = scope_of(key).split("/")
        if place[2] in ("zones", "regions"):
            document[place[2][:-1]] = link("/".join(place))
        return key, document


def find_user(store: Store, key: str) -> str | None:
    """Who still points at a network or subnetwork: the path of an instance, if there is one."""
    project = "/".join(key.split("/")[:2])
    by_kind = sorted(store.items(f"{project}/"), key=lambda entry: "/instances/" not in entry[0])
    for other, document in by_kind:
        if other != key and other.split("/")[-2] in ("instances", "subnetworks", "firewalls", "routers"):
            links = [document.get("network")] + [
                nic.get(name) for nic in document.get("networkInterfaces", ()) for name in ("network", "subnetwork")
            ]
            if any(pointed is not None and relative(pointed) == key for pointed in links):
                return other
    return None
