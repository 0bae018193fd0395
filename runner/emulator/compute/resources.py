"""The methods that all Compute resources share: get, list, aggregated list, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runner.emulator.compute.operation_records import Operations, Work
from runner.emulator.compute.quotas import Quotas
from runner.emulator.compute.references import References
from runner.emulator.faults import Faults
from runner.emulator.http import Act, Call, Rule
from runner.emulator.iam import Access
from runner.emulator.state import REGIONS, Clock, CloudSettings, Document, Store
from runner.emulator.wire import (
    aggregated_document,
    api_errors,
    check_labels,
    compute_time,
    fresh_fingerprint,
    link,
    list_document,
    relative,
    request_fields,
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
    """The services that every API of the cloud uses."""

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

    def __init__(self, parts: Parts, name: str, kind: str, base: str, *, permission: str = "") -> None:
        self.parts = parts
        self.name = name
        self.kind = kind
        self.base = f"{base}/{name}"
        self.one = self.base + "/{name}"
        self._permission = permission or f"compute.{name}"

    def rule(self, method: str, path: str, verb: str, act: Act, fields: Any = None) -> Rule:
        """Build a rule that requires the permission for ``verb``; ``fields``: what the body may contain."""
        return Rule(method=method, path=path, act=act, permission=f"{self._permission}.{verb}", fields=fields)

    def read_rules(self) -> list[Rule]:
        """Build the rules for get, list, and aggregatedList where Google has it."""
        rules = [
            self.rule("GET", self.base, "list", self.list_all),
            self.rule("GET", self.one, "get", self.get),
        ]
        if not self.base.startswith(GLOBAL):
            rules.append(self.rule("GET", f"{V1}/aggregated/{self.name}", "list", self.aggregate))
        return rules

    def label_rule(self) -> Rule:
        """Build the rule for setLabels."""
        return self.rule("POST", f"{self.one}/setLabels", "setLabels", self.set_labels, request_fields.LABELS)

    def find(self, call: Call) -> tuple[str, Document]:
        """Return the path and document of the resource that a call names; raise 404 if there is none."""
        key = call.resource
        document = self.parts.store.get(key)
        if document is None:
            raise api_errors.not_found(key)
        return key, document

    def get(self, call: Call) -> Document:
        return self.find(call)[1]

    def list_all(self, call: Call) -> Document:
        path = call.path.split("/v1/", 1)[1]
        entries = [entry for entry in self.parts.store.items(path + "/") if entry[0].count("/") == path.count("/") + 1]
        return list_document(self.kind, path, entries, call.query)

    def aggregate(self, call: Call) -> Document:
        level = "zones" if "/zones/" in self.base else "regions"
        prefix = f"projects/{call.project}/{level}/"
        entries = [entry for entry in self.parts.store.items(prefix) if entry[0].split("/")[4] == self.name]
        path = f"projects/{call.project}/aggregated/{self.name}"
        scopes = self._scopes(level)
        unreachable = [scope for scope in scopes if self.parts.faults.hit("unreachable", f"{self.name} {scope}")]
        if unreachable and call.query.get("returnPartialSuccess") != "true":
            raise CloudError(f"Backend error: {', '.join(unreachable)}", reason="backendError", status=503)
        return aggregated_document(self.kind, self.name, path, entries, scopes, call.query, unreachable=unreachable)

    def _scopes(self, level: str) -> Sequence[str]:
        names = self.parts.settings.zones if level == "zones" else tuple(REGIONS)
        return [f"{level}/{name}" for name in names]

    def set_labels(self, call: Call) -> Document:
        """Set the labels at once; the operation has no work of its own."""
        key, document = self.find(call)
        if call.body.get("labelFingerprint") != document["labelFingerprint"]:
            raise api_errors.stale_labels()
        check_labels(call.body.get("labels"), field="labels")
        with self.parts.store.edit(key) as changed:
            changed.update(labels=call.body.get("labels") or {}, labelFingerprint=fresh_fingerprint())
        return self.begin("setLabels", key, call)

    def begin(self, kind: str, key: str, call: Call, *, work: Work | None = None, undo: Work | None = None) -> Document:
        """Begin an operation of the caller; see ``Operations.begin``."""
        return self.parts.operations.begin(kind, key, user=call.caller.email, work=work, undo=undo)

    async def forget(self, key: str) -> None:
        """Delete a resource that is only a document."""
        self.parts.store.delete(key)

    def new_document(self, call: Call, body: Document) -> tuple[str, Document]:
        """Return the path of a resource to be created, and its document with the fields that all resources have."""
        key = call.path.split("/v1/", 1)[1] + "/" + body["name"]
        if self.parts.store.get(key) is not None:
            raise api_errors.already_exists(key)
        document: Document = {name: value for name, value in without_blanks(body).items() if value not in ([], {})}
        document.pop("params", None)
        document.update(
            kind=f"compute#{self.kind}",
            id=self.parts.store.next_id(),
            name=tail(key),
            creationTimestamp=compute_time(self.parts.clock.now()),
            selfLink=link(key),
        )
        scope = scope_of(key).split("/")
        if scope[2] in ("zones", "regions"):
            document[scope[2][:-1]] = link("/".join(scope))
        return key, document


def find_user(store: Store, key: str) -> str | None:
    """Find a resource that still refers to a network or subnetwork, an instance if there is one; return its path."""
    project = "/".join(key.split("/")[:2])
    by_kind = sorted(store.items(f"{project}/"), key=lambda entry: "/instances/" not in entry[0])
    for other, document in by_kind:
        if other != key and other.split("/")[-2] in ("instances", "subnetworks", "firewalls", "routers"):
            links = [document.get("network")] + [
                nic.get(name) for nic in document.get("networkInterfaces", ()) for name in ("network", "subnetwork")
            ]
            if any(target is not None and relative(target) == key for target in links):
                return other
    return None
