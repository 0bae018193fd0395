"""Recovery after a restart: instances died with the last process. Terminates them, fails interrupted operations, removes orphaned folders."""

from __future__ import annotations

import asyncio
from pathlib import Path

from runner.emulator.compute import Failure, Lifecycle, Operations, RootTools, take_external_addresses
from runner.emulator.state import Clock, CloudSettings, Document, Store
from runner.emulator.wire import compute_time, relative

UNBORN = frozenset({"PROVISIONING", "STAGING"})
LIVE = UNBORN | {"RUNNING", "STOPPING"}
HALF_MADE = frozenset({"CREATING", "PENDING"})

CUT_OFF = Failure(
    code="INTERNAL_ERROR",
    message="The embedded cloud was stopped before this operation was done.",
    http_status=500,
    http_message="INTERNAL SERVER ERROR",
)


class Recovery:
    """Runs once, before the cloud answers requests."""

    def __init__(
        self, *, settings: CloudSettings, store: Store, clock: Clock, operations: Operations, lifecycle: Lifecycle
    ) -> None:
        self._store = store
        self._clock = clock
        self._operations = operations
        self._lifecycle = lifecycle
        self._prefix = f"projects/{settings.project}/"

    async def run(self) -> None:
        for key, instance in self._of_kind("instances"):
            if instance["status"] in LIVE:
                await self._bury(key, instance)
        for key, record in self._of_kind("operations"):
            if record["status"] != "DONE":
                self._operations.end(key, None if record["operationType"] == "delete" else CUT_OFF)
        for key, document in [*self._of_kind("disks"), *self._of_kind("images")]:
            if document["status"] in HALF_MADE:
                self._store.delete(key)

    def _of_kind(self, collection: str) -> list[tuple[str, Document]]:
        return [(key, found) for key, found in self._store.items(self._prefix) if key.split("/")[-2] == collection]

    async def _bury(self, key: str, instance: Document) -> None:
        is_gone = (
            instance["scheduling"].get("instanceTerminationAction") == "DELETE"
            or instance["status"] in UNBORN
            or self._was_being_deleted(key)
        )
        self._operations.note(
            "compute.instances.hostError",
            key,
            message=f"Instance was {'deleted' if is_gone else 'terminated'}: the embedded cloud was stopped while it was "
            f"{instance['status']}.",
        )
        if is_gone:
            await self._lifecycle.remove(key, only_new_disks=instance["status"] in UNBORN)
            return
        self._lifecycle.disarm(key)
        with self._store.edit(key) as stopped:
            stopped["status"] = "TERMINATED"
            take_external_addresses(stopped)
            stopped["lastStopTimestamp"] = compute_time(self._clock.now())

    def _was_being_deleted(self, key: str) -> bool:
        return any(
            record["operationType"] == "delete" and record["status"] != "DONE" and relative(record["targetLink"]) == key
            for _, record in self._of_kind("operations")
        )


async def sweep_folders(state: Path, store: Store, tools: RootTools) -> None:
    """Remove the folders of disks and images that no document names (a process was killed while it removed them)."""
    known = {found["id"] for _, found in store.items("projects/") if "id" in found}
    for kind in ("disks", "images"):
        for folder in (state / kind).glob("*"):
            if folder.name not in known:
                await asyncio.to_thread(tools.remove, folder)
