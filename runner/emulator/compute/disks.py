"""Disks."""

from __future__ import annotations

from runner.emulator.compute.disk_documents import make_disk_document
from runner.emulator.compute.disk_roots import DiskRoots
from runner.emulator.compute.operation_records import Failure
from runner.emulator.compute.resources import ZONE, Collection, Parts
from runner.emulator.http import Call, Rule
from runner.emulator.state import Document, region_of
from runner.emulator.wire import api_errors, read_int, relative, request_fields


class Disks(Collection):
    """``zones/z/disks``."""

    def __init__(self, parts: Parts, roots: DiskRoots) -> None:
        super().__init__(parts, "disks", "disk", ZONE)
        self._roots = roots

    def rules(self) -> list[Rule]:
        return [
            *self.read_rules(),
            self.rule("POST", self.base, "create", self.insert, request_fields.DISK),
            self.rule("DELETE", self.one, "delete", self.delete),
            self.label_rule(),
            self.rule("POST", f"{self.one}/resize", "resize", self.resize, {"sizeGb": int}),
        ]

    def insert(self, call: Call) -> Document:
        body = dict(call.body)
        if source := call.query.get("sourceImage"):
            body["sourceImage"] = source
        zone = call.params["zone"]
        disk = make_disk_document(
            body, zone, self.parts.store, self.parts.references, now=self.parts.clock.now(), field="resource"
        )
        key = relative(disk["selfLink"])
        self.parts.store.put(key, disk)
        return self.begin("insert", key, call, work=lambda: self._make(key, zone), undo=lambda: self.forget(key))

    async def _make(self, key: str, zone: str) -> Failure | None:
        if failure := self.parts.quotas.shortage(region_of(zone), asking=key):
            return failure
        return await self._roots.make_disk(key)

    async def forget(self, key: str) -> None:
        """Delete a disk and its root folder."""
        disk = self.parts.store.get(key)
        self.parts.store.delete(key)
        if disk is not None:
            await self._roots.remove_disk(disk)

    def delete(self, call: Call) -> Document:
        key, disk = self.find(call)
        if disk["users"]:
            raise api_errors.in_use("disk", key, relative(disk["users"][0]))
        return self.begin("delete", key, call, work=lambda: self.forget(key))

    def resize(self, call: Call) -> Document:
        key, disk = self.find(call)
        size_gb = read_int(call.body.get("sizeGb"), field="sizeGb")
        if size_gb < int(disk["sizeGb"]):
            raise api_errors.invalid_field("sizeGb", size_gb, f"Must be larger than existing size '{disk['sizeGb']}'.")
        with self.parts.store.edit(key) as changed:
            changed["sizeGb"] = str(size_gb)
        return self.begin("resizeDisk", key, call)
