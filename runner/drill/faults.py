"""The faults that are injected into a batch. None needs the client's cooperation: signals, limits of the system, faults of the cloud."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import psutil

from runner.drill.site import Client, DrillSite
from runner.errors import InputError, MissingToolError, NotFoundError
from runner.google import Instance
from runner.model import names

ENGINE = "pulumi"
LOOK_EVERY_S = 0.01
VMS_TAKEN = 3
STARTING = frozenset({"PROVISIONING", "STAGING"})  # the states of a VM that is being created
LONGEST_LIFE_S = 6.0
VMS_LOOK_EVERY_S = 0.2
Taken = Mapping[str, datetime]
API_PATHS = " /(compute|storage|upload|download)/"

API_FAULTS: Mapping[str, Mapping[str, Any]] = {
    "api-503": {"kind": "http", "status": 503, "times": 6, "match": API_PATHS},
    "api-403": {
        "kind": "http",
        "status": 403,
        "reason": "forbidden",
        "message": "Required permission is missing.",
        "times": 1,
        "match": " /compute/",
    },
    "drop": {"kind": "drop", "times": 4, "match": API_PATHS},
}


class Fault(Enum):
    """A fault that is injected at a step."""

    KILL_CLIENT = "kill-client"
    KILL_GROUP = "kill-group"
    SIGINT = "sigint"
    SIGTERM = "sigterm"
    KILL_ENGINE = "kill-engine"
    FULL_DISK = "full-disk"
    API_503 = "api-503"
    API_403 = "api-403"
    DROP = "drop"
    PREEMPTION = "preemption"
    EVERY_VM = "every-vm"

    @property
    def description(self) -> str:
        """The description, for the table."""
        return DESCRIPTIONS[self]

    @property
    def must_be_survived(self) -> bool:
        """Whether the client must still finish its batch, with every job."""
        return self in (Fault.API_503, Fault.DROP, Fault.PREEMPTION, Fault.EVERY_VM)

    def inject(self, site: DrillSite, client: Client, batch: str) -> Taken:
        """Inject it now. Some wait for what they need, for as long as the client runs. Return the VMs that were preempted, and when."""
        if self in PREEMPTIONS:
            return PREEMPTIONS[self](site, client, batch)
        INJECTORS[self](site, client, batch)
        return {}

    def clear(self, site: DrillSite) -> None:
        """Disarm a fault of the cloud."""
        if self.value in API_FAULTS and site.faults is not None:
            site.faults.clear()


DESCRIPTIONS = {
    Fault.KILL_CLIENT: "kill -9 of the client",
    Fault.KILL_GROUP: "kill -9 of the client and of all processes that it has started",
    Fault.SIGINT: "SIGINT to the client",
    Fault.SIGTERM: "SIGTERM to the client",
    Fault.KILL_ENGINE: "kill -9 of the engine",
    Fault.FULL_DISK: "the client's disk is full",
    Fault.API_503: "the cloud answers 503, six times",
    Fault.API_403: "the cloud answers 403, once",
    Fault.DROP: "connections to the cloud are cut, four times",
    Fault.PREEMPTION: "simulateMaintenanceEvent on a VM",
    Fault.EVERY_VM: f"simulateMaintenanceEvent on the first {VMS_TAKEN} VMs, each up to {LONGEST_LIFE_S:.0f} s after it runs",
}


def _signal(signum: signal.Signals) -> Callable[[DrillSite, Client, str], None]:
    def send(site: DrillSite, client: Client, batch: str) -> None:
        client.process.send_signal(signum)

    return send


def _kill_group(site: DrillSite, client: Client, batch: str) -> None:
    """Kill the client and all its descendants, as when a login session or the computer ends: no process is left to continue."""
    for pid in (*(process.pid for process in descendants(client.pid)), client.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _kill_engine(site: DrillSite, client: Client, batch: str) -> None:
    """Kill the engine that runs now, else the next one."""
    while client.is_running():
        for process in descendants(client.pid):
            if _name(process) == ENGINE:
                os.kill(process.pid, signal.SIGKILL)
                return
        time.sleep(LOOK_EVERY_S)


def _fill_disk(site: DrillSite, client: Client, batch: str) -> None:
    """Keep the client, and what it starts from now on, from writing to any file."""
    if not hasattr(psutil.Process, "rlimit"):
        raise MissingToolError("this system cannot limit the files of another process; Linux can")
    try:
        psutil.Process(client.pid).rlimit(psutil.RLIMIT_FSIZE, (0, 0))
    except psutil.NoSuchProcess:
        return


def _fault(site: DrillSite, client: Client, batch: str, *, name: str) -> None:
    if site.faults is None:
        raise InputError("only the embedded cloud can inject faults", remedy="invoke drill --on local")
    site.faults.arm(API_FAULTS[name])


def _preempt(site: DrillSite, client: Client, batch: str) -> Taken:
    """Preempt the first VM of the batch, with Google's own method for testing that."""
    return _take(site, _running(site, batch)[:1])


def _preempt_every_vm(site: DrillSite, client: Client, batch: str) -> Taken:
    """Preempt the first spot VMs, each after a time that its name determines, so that it is the same each time."""
    dies_at: dict[str, float] = {}
    taken: dict[str, datetime] = {}
    while client.is_running() and len(taken) < VMS_TAKEN:
        now = time.monotonic()
        vms = [vm for vm in _running(site, batch) if vm.provisioning == "spot" and vm.name not in taken]
        for vm in vms:
            if len(dies_at) < VMS_TAKEN and vm.name not in dies_at:
                dies_at[vm.name] = now + random.Random(vm.name).uniform(0.0, LONGEST_LIFE_S)  # noqa: S311
        taken |= _take(site, [vm for vm in vms if dies_at.get(vm.name, now + 1) <= now])
        time.sleep(VMS_LOOK_EVERY_S)
    return taken


def _running(site: DrillSite, batch: str) -> list[Instance]:
    found = site.context.cloud.compute.instances(names.labels_of_batch(batch))
    return sorted((vm for vm in found if vm.status == "RUNNING"), key=lambda vm: vm.name)


def _take(site: DrillSite, vms: Sequence[Instance]) -> Taken:
    taken = {}
    for vm in vms:
        taken[vm.name] = site.context.now()
        with contextlib.suppress(NotFoundError):  # it was deleted in between
            site.context.cloud.compute.simulate_maintenance(vm.zone, vm.name)
    return taken


def _arming(name: str) -> Callable[[DrillSite, Client, str], None]:
    return lambda site, client, batch: _fault(site, client, batch, name=name)


INJECTORS: Mapping[Fault, Callable[[DrillSite, Client, str], None]] = {
    Fault.KILL_CLIENT: _signal(signal.SIGKILL),
    Fault.KILL_GROUP: _kill_group,
    Fault.SIGINT: _signal(signal.SIGINT),
    Fault.SIGTERM: _signal(signal.SIGTERM),
    Fault.KILL_ENGINE: _kill_engine,
    Fault.FULL_DISK: _fill_disk,
    Fault.API_503: _arming("api-503"),
    Fault.API_403: _arming("api-403"),
    Fault.DROP: _arming("drop"),
}
PREEMPTIONS: Mapping[Fault, Callable[[DrillSite, Client, str], Taken]] = {
    Fault.PREEMPTION: _preempt,
    Fault.EVERY_VM: _preempt_every_vm,
}


def descendants(pid: int) -> list[psutil.Process]:
    """Return all processes below this one, as they are now."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""
