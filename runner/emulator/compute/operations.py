"""The API of operations: get, list, wait, delete, at zone, region and global scope, and the aggregated list."""

from __future__ import annotations

from runner.emulator.compute.resources import GLOBAL, REGION, V1, ZONE, Parts
from runner.emulator.http import Call, Rule
from runner.emulator.state import REGIONS, Document
from runner.emulator.wire import aggregated_document, list_document


class OperationsApi:
    """``…/operations``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        scopes = ((ZONE, "zoneOperations"), (REGION, "regionOperations"), (GLOBAL, "globalOperations"))
        every = f"{V1}/aggregated/operations"
        return [
            *(rule for scope, name in scopes for rule in self._scope_rules(f"{scope}/operations", f"compute.{name}")),
            Rule(method="GET", path=every, act=self.aggregate, permission="compute.globalOperations.list"),
        ]

    def _scope_rules(self, path: str, permission: str) -> list[Rule]:
        one = path + "/{name}"
        return [
            Rule(method="GET", path=path, act=self.list_all, permission=f"{permission}.list"),
            Rule(method="GET", path=one, act=self.get, permission=f"{permission}.get"),
            Rule(method="POST", path=one + "/wait", act=self.wait, permission=f"{permission}.get"),
            Rule(method="DELETE", path=one, act=self.delete, permission=f"{permission}.delete"),
        ]

    def get(self, call: Call) -> Document:
        return self._parts.operations.get(call.resource)

    async def wait(self, call: Call) -> Document:
        return await self._parts.operations.wait(call.resource)

    def delete(self, call: Call) -> Document:
        """Delete a record. The response is an empty object: Google's own Python client cannot read a response without a body."""
        self._parts.operations.get(call.resource)
        self._parts.store.delete(call.resource)
        return {}

    def list_all(self, call: Call) -> Document:
        path = call.path.split("/v1/", 1)[1]
        return list_document("operation", path, self._parts.store.items(path + "/"), call.query)

    def aggregate(self, call: Call) -> Document:
        entries = [
            entry for entry in self._parts.store.items(f"projects/{call.project}/") if "/operations/" in entry[0]
        ]
        scopes = [
            "global",
            *(f"zones/{zone}" for zone in self._parts.settings.zones),
            *(f"regions/{region}" for region in REGIONS),
        ]
        path = f"projects/{call.project}/aggregated/operations"
        return aggregated_document("operation", "operations", path, entries, scopes, call.query)
