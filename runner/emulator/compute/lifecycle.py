"""The life of an instance after its insert was accepted: power on and off, limits, preemption, the end.

    PROVISIONING ─► STAGING ─► RUNNING ─► STOPPING ─► TERMINATED ─► (start) STAGING …
                                             └─► gone, with its auto-delete disks

Each instance makes one transition at a time. Everything that must survive a restart is in the store: the instance, its
private record (``private/<key>``), its alarms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from runner.emulator.compute.disk_roots import DiskRoots
from runner.emulator.compute.instance_documents import give_external_addresses, take_external_addresses
from runner.emulator.compute.machine_types import MACHINE_TYPES
from runner.emulator.compute.operation_records import Failure, Operations, gone
from runner.emulator.compute.quotas import Quotas, failure_for_fault, stockout_failure
from runner.emulator.compute.scheduling import run_limit_s
from runner.emulator.faults import Faults
from runner.emulator.iam import POLICIES
from runner.emulator.machines import MachineSpec
from runner.emulator.state import Alarms, Clock, CloudSettings, Document, Store, region_of
from runner.emulator.wire import compute_time, relative, tail

PRIVATE = "private/"
STOP_NOTICE_S = 90.0
PREEMPTION_NOTICE_S = 30.0


class Hypervisor(Protocol):
    """Runs instances (implemented by ``machines.LocalHypervisor``)."""

    async def boot(self, spec: MachineSpec) -> None: ...

    async def shut_down(self, key: str, *, notice_s: float) -> None: ...

    async def close(self) -> None: ...

    def free_address(self, taken: Collection[str]) -> str: ...

    def refuse_ssh(self, key: str, *, duration_s: float) -> None: ...

    def cut_next_connection(self, key: str, *, after_bytes: int) -> None: ...

    def drop_connections(self, key: str) -> None: ...

    async def fill_disk(self, key: str, *, full: bool) -> None: ...

    async def hang(self, key: str) -> None: ...


class Lifecycle:
    """Moves instances from one state to the next."""

    def __init__(
        self,
        *,
        settings: CloudSettings,
        store: Store,
        clock: Clock,
        alarms: Alarms,
        faults: Faults,
        operations: Operations,
        quotas: Quotas,
        disks: DiskRoots,
        hypervisor: Hypervisor,
        ssh_port: int,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._alarms = alarms
        self._faults = faults
        self._operations = operations
        self._quotas = quotas
        self._disks = disks
        self._hypervisor = hypervisor
        self._ssh_port = ssh_port
        self._locks: dict[str, asyncio.Lock] = {}
        self._interrupts: dict[str, asyncio.Event] = {}
        alarms.handle("expire", self._expire)
        alarms.handle("preempt", self._preempt_on_alarm)

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def _interrupt(self, key: str) -> asyncio.Event:
        return self._interrupts.setdefault(key, asyncio.Event())

    def free_address(self) -> str:
        """Find a loopback address that no instance has."""
        return self._hypervisor.free_address([private.get("address", "") for _, private in self._store.items(PRIVATE)])

    # ------------------------------------------------------------------ start

    async def provision(self, key: str) -> Failure | None:
        """Do the work of an insert: quota and capacity, disks, boot."""
        async with self._lock(key):
            if self._store.get(key) is None:
                return gone(key)
            if failure := self._capacity_failure(key):
                return failure
            if not await self._stage(key):
                return gone(key)
            if failure := await self._make_disks(key):
                return failure
            await self._power_on(key)
        return None

    async def discard(self, key: str) -> Failure | None:
        """Undo a failed insert: delete the instance and the disks that were created for it."""
        async with self._lock(key):
            await self.remove(key, only_new_disks=True)
        return None

    async def start(self, key: str) -> Failure | None:
        async with self._lock(key):
            if self._status(key) != "TERMINATED":
                return None if self._status(key) else gone(key)
            self._set_status(key, "STAGING")
            failure = self._capacity_failure(key)
            if failure is None and await self._stage(key):
                await self._power_on(key)
            else:
                self._set_status(key, "TERMINATED")
            return failure

    def _capacity_failure(self, key: str) -> Failure | None:
        zone = key.split("/")[3]
        if fault := self._faults.hit("stockout", key):
            machine_type = tail((self._store.get(key) or {})["machineType"])
            return stockout_failure(self._settings.project, zone, machine_type, fault)
        if fault := self._faults.hit("quota", key, form="operation"):
            return failure_for_fault(fault, zone)
        return self._quotas.shortage(region_of(zone), asking=key)

    async def _make_disks(self, key: str) -> Failure | None:
        for attachment in (self._store.get(key) or {})["disks"]:
            path = relative(attachment["source"])
            disk = self._store.get(path)
            is_new = disk is not None and disk["status"] == "CREATING"
            if is_new and (failure := await self._disks.make_disk(path)):
                return failure
        return None

    async def _stage(self, key: str) -> bool:
        """Set STAGING, and wait if there is a ``slow_boot`` fault. Return False if the instance was stopped or deleted meanwhile."""
        self._set_status(key, "STAGING")
        slow = self._faults.hit("slow_boot", key)
        return slow is None or await self._pause(key, slow["delay_s"])

    async def _power_on(self, key: str) -> None:
        with self._store.edit(PRIVATE + key) as private:
            private["preempted"] = False
        with self._store.edit(key) as instance:
            give_external_addresses(instance)
        await self._boot(key)
        with self._store.edit(key) as instance:
            instance["status"] = "RUNNING"
            instance["lastStartTimestamp"] = compute_time(self._clock.now())
        self._faults.report(f"instance {key} RUNNING")
        self._arm(key)

    async def _pause(self, key: str, delay_s: float) -> bool:
        return await self._clock.sleep_until(self._clock.now() + delay_s, unless=self._interrupt(key))

    async def _boot(self, key: str) -> None:
        instance = self._store.get(key) or {}
        boot_disk = next(disk for disk in instance["disks"] if disk["boot"])
        disk = self._store.get(relative(boot_disk["source"])) or {}
        spec = MachineSpec(
            key=key,
            name=instance["name"],
            root=self._disks.of_disk(disk),
            address=(self._store.get(PRIVATE + key) or {})["address"],
            ssh_port=self._ssh_port,
            vcpus=MACHINE_TYPES[tail(instance["machineType"])].vcpus,
        )
        await self._hypervisor.boot(spec)
        await self.apply_guest_faults(key)

    async def apply_guest_faults(self, key: str) -> None:
        """Apply the armed faults that hit this instance's guest."""
        if fault := self._faults.hit("ssh_refused", key):
            self._hypervisor.refuse_ssh(key, duration_s=fault["delay_s"])
        if fault := self._faults.hit("ssh_cut", key):
            self._hypervisor.cut_next_connection(key, after_bytes=fault["after_bytes"])
        if self._faults.hit("ssh_drop", key):
            self._hypervisor.drop_connections(key)
        if fault := self._faults.hit("full_disk", key):
            await self._hypervisor.fill_disk(key, full=fault["full"])
        if self._faults.hit("hang", key):
            await self._hypervisor.hang(key)

    def _arm(self, key: str) -> None:
        scheduling = (self._store.get(key) or {})["scheduling"]
        limit_s = run_limit_s(scheduling)
        if limit_s is not None:
            end = self._clock.now() + limit_s
            self._alarms.arm(f"expire/{key}", at=end, kind="expire", key=key)
            with self._store.edit(key) as instance:
                instance["resourceStatus"]["scheduling"] = {"terminationTimestamp": compute_time(end)}
        if scheduling["preemptible"] and (fault := self._faults.hit("preemption", key)):
            at = self._clock.now() + fault["after_s"]
            self._alarms.arm(f"preempt/{key}", at=at, kind="preempt", key=key, notice_s=fault["notice_s"])

    # ------------------------------------------------------------------ stop

    async def stop(self, key: str, *, notice_s: float = STOP_NOTICE_S) -> Failure | None:
        """Stop an instance; the guest's shutdown script gets ``notice_s``. Idempotent."""
        self._interrupt(key).set()
        async with self._lock(key):
            self._interrupt(key).clear()
            if self._status(key) in ("", "TERMINATED"):
                return None
            await self._power_off(key, notice_s)
        return None

    async def reset(self, key: str) -> Failure | None:
        """Reset an instance: power it off without its shutdown script, then boot it again."""
        async with self._lock(key):
            if self._status(key) != "RUNNING":
                return gone(key)
            await self._hypervisor.shut_down(key, notice_s=0.0)
            await self._boot(key)
        return None

    async def delete(self, key: str, *, notice_s: float = STOP_NOTICE_S) -> Failure | None:
        """Delete an instance and its auto-delete disks; no failure if it is already gone."""
        self._interrupt(key).set()
        async with self._lock(key):
            self._interrupt(key).clear()
            if self._status(key) not in ("", "TERMINATED"):
                await self._power_off(key, notice_s)
            await self.remove(key, only_new_disks=False)
        return None

    async def preempt(self, key: str, *, notice_s: float = PREEMPTION_NOTICE_S) -> Failure | None:
        """Do the work of ``compute.instances.preempted``: notice, then the termination action."""
        if self._status(key):
            with self._store.edit(PRIVATE + key) as private:
                private["preempted"] = True
        return await self._terminate(key, notice_s)

    async def _terminate(self, key: str, notice_s: float) -> Failure | None:
        scheduling = (self._store.get(key) or {}).get("scheduling", {})
        if scheduling.get("instanceTerminationAction") == "DELETE":
            return await self.delete(key, notice_s=notice_s)
        return await self.stop(key, notice_s=notice_s)

    async def _power_off(self, key: str, notice_s: float) -> None:
        self._set_status(key, "STOPPING")
        await self._hypervisor.shut_down(key, notice_s=notice_s)
        self.disarm(key)
        with self._store.edit(key) as instance:
            instance["status"] = "TERMINATED"
            take_external_addresses(instance)
            instance["lastStopTimestamp"] = compute_time(self._clock.now())
        self._faults.report(f"instance {key} TERMINATED")

    async def remove(self, key: str, *, only_new_disks: bool) -> None:
        """Delete the documents of an instance that is off, and its auto-delete disks.

        ``only_new_disks``: as after a failed insert, delete exactly the disks that were created for the instance.
        """
        instance = self._store.get(key)
        if instance is None:
            return
        for attachment in instance["disks"]:
            path = relative(attachment["source"])
            is_new = path in (self._store.get(PRIVATE + key) or {}).get("new_disks", ())
            if is_new if only_new_disks else attachment["autoDelete"]:
                await self._remove_disk(path)
            else:
                self._detach(path, key)
        self.disarm(key)
        self._store.delete(key)
        self._store.delete(PRIVATE + key)
        self._store.delete(POLICIES + key)
        self._interrupts.pop(key, None)
        self._faults.report(f"instance {key} GONE")

    async def _remove_disk(self, path: str) -> None:
        disk = self._store.get(path)
        if disk is not None:
            await self._disks.remove_disk(disk)
            self._store.delete(path)

    def _detach(self, path: str, key: str) -> None:
        if self._store.get(path) is not None:
            with self._store.edit(path) as disk:
                disk["users"] = [user for user in disk["users"] if relative(user) != key]

    def disarm(self, key: str) -> None:
        """Cancel the alarms for the run time limit and for preemption."""
        self._alarms.disarm(f"expire/{key}")
        self._alarms.disarm(f"preempt/{key}")

    # ------------------------------------------------------------------ events that no client requests

    def begin_preemption(self, key: str, *, notice_s: float = PREEMPTION_NOTICE_S) -> Document:
        """Begin a preemption, and return the record of its operation."""
        return self._operations.begin(
            "compute.instances.preempted",
            key,
            user="system",
            work=lambda: self.preempt(key, notice_s=notice_s),
            statusMessage="Instance was preempted.",
        )

    def guest_powered_off(self, key: str) -> None:
        """Stop an instance whose guest has powered itself off: whatever its termination action, as at Google."""
        if self._status(key) == "RUNNING":
            self._operations.begin(
                "compute.instances.guestTerminate",
                key,
                user="system",
                work=lambda: self.stop(key, notice_s=0.0),
                statusMessage="Instance terminated by guest OS shutdown.",
            )

    async def _expire(self, alarm: Document) -> None:
        key = alarm["key"]
        if self._status(key) != "RUNNING":
            return
        action = (self._store.get(key) or {})["scheduling"]["instanceTerminationAction"].lower()
        self._operations.begin(
            action,
            key,
            user="system",
            work=lambda: self._terminate(key, PREEMPTION_NOTICE_S),
            statusMessage="Instance reached its maximum run duration.",
        )

    async def _preempt_on_alarm(self, alarm: Document) -> None:
        if self._status(alarm["key"]) == "RUNNING":
            self.begin_preemption(alarm["key"], notice_s=alarm["notice_s"])

    # ------------------------------------------------------------------ status

    def _status(self, key: str) -> str:
        return str((self._store.get(key) or {}).get("status", ""))

    def _set_status(self, key: str, status: str) -> None:
        with self._store.edit(key) as instance:
            instance["status"] = status
        self._faults.report(f"instance {key} {status}")
