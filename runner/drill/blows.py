"""What a random trial strikes with, beside the harms of the matrix: what users, colleagues, machines and clouds do at any moment."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import psutil

from runner.drill.evidence import Evidence
from runner.drill.harm import API_FAULTS, Harm, offspring
from runner.drill.places import copied_home
from runner.drill.site import Client, DrillSite
from runner.errors import HpcError, NotFoundError
from runner.model import names

VM_WAIT_S = 20.0
LOOK_EVERY_S = 0.05
SLOW_BOOT_S = 4.0
LONGEST_SLEEP_LEASES = 3.0
COMMAND_LIMIT_S = 300.0
UNBORN = frozenset({"PROVISIONING", "STAGING"})


@dataclass(kw_only=True)
class Scene:
    """A batch while it is struck. ``client`` began it. ``others``: further commands that were started beside it.

    ``cleanups`` are those of them that say with their exit code what they left to a living client.
    ``hung``: VMs that stand still, which only a client or their wall ends. ``was_ended``: somebody ended the batch on purpose, so
    that fewer results than analyses are right.
    """

    evidence: Evidence
    client: Client
    chance: random.Random
    others: list[Client] = field(default_factory=list)
    cleanups: list[Client] = field(default_factory=list)
    hung: set[str] = field(default_factory=set)
    was_ended: bool = False
    offspring: list[psutil.Process] = field(default_factory=list)

    @property
    def site(self) -> DrillSite:
        """Where it takes place."""
        return self.evidence.site

    @property
    def name(self) -> str:
        """The batch's."""
        return self.evidence.batch.name

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> Client:
        """Begin another command beside the client."""
        client = self.site.start(*words, environment=environment)
        self.others.append(client)
        return client

    def attach_words(self) -> list[str]:
        """``invoke attach`` as its user types it."""
        return ["attach", "--batch", self.name, "--json", "--results", str(self.evidence.results)]


class Blow(Enum):
    """What is done at a random moment."""

    KILL_CLIENT = Harm.KILL_CLIENT.value
    KILL_GROUP = Harm.KILL_GROUP.value
    KILL_ENGINE = Harm.KILL_ENGINE.value
    SIGINT = Harm.SIGINT.value
    SLEEP = "sleep"
    FULL_DISK = Harm.FULL_DISK.value
    VM_HANGS = "vm-hangs"
    VM_VANISHES = "vm-vanishes"
    PREEMPTION = Harm.PREEMPTION.value
    SSH_LOST = "ssh-lost"
    CLOUD_RESTARTS = "cloud-restarts"
    DESTROY_BY_HAND = "destroy-by-hand"
    CLEANUP = "cleanup"
    SECOND_CLIENT = "second-client"
    COPIED_STATE = "copied-state"
    API_503 = Harm.API_503.value
    API_403 = Harm.API_403.value
    DROP = Harm.DROP.value

    def strike(self, scene: Scene) -> None:
        """Do it now. Some wait for what they need, for a while."""
        ACTS[self](scene)


def _harm(harm: Harm) -> Callable[[Scene], None]:
    def do(scene: Scene) -> None:
        if scene.client.is_running():
            harm.do(scene.site, scene.client, scene.name)

    return do


def _interrupt(scene: Scene) -> None:
    scene.was_ended = True
    _harm(Harm.SIGINT)(scene)


def _kill_group(scene: Scene) -> None:
    scene.offspring += offspring(scene.client.pid)
    _harm(Harm.KILL_GROUP)(scene)


def _kill_client(scene: Scene) -> None:
    scene.offspring += offspring(scene.client.pid)
    _harm(Harm.KILL_CLIENT)(scene)


def _sleep(scene: Scene) -> None:
    """Suspend the client as a closed laptop does, for less or more than its lease."""
    if not scene.client.is_running():
        return
    scene.client.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(scene.chance.uniform(0.3, LONGEST_SLEEP_LEASES) * scene.site.lease_s)
    finally:
        if scene.client.is_running():
            scene.client.process.send_signal(signal.SIGCONT)


def _api_fault(name: str) -> Callable[[Scene], None]:
    return lambda scene: _arm(scene, **API_FAULTS[name])


def _arm(scene: Scene, **fault: object) -> None:
    if scene.site.faults is not None:
        scene.site.faults.arm(fault)


def _on_a_vm(kind: str, scene: Scene) -> str:
    """Inject a fault into one of the VMs; return its name, '' if there was none."""
    vm = _some_vm(scene, {"RUNNING"})
    if vm is None:
        return ""
    _arm(scene, kind=kind, match=f"/instances/{re.escape(vm[1])}$")
    return vm[1]


def _hang(scene: Scene) -> None:
    vm = _on_a_vm("hang", scene)
    scene.hung |= {vm} if vm else set()


def _lose_ssh(scene: Scene) -> None:
    _on_a_vm("ssh_drop", scene)


def _preempt(scene: Scene) -> None:
    vm = _some_vm(scene, {"RUNNING"})
    if vm is not None:
        with contextlib.suppress(NotFoundError):  # it went by itself in between
            scene.site.context.cloud.compute.simulate_maintenance(*vm)


def _let_vm_vanish(scene: Scene) -> None:
    """Preempt a VM while it is being created."""
    _arm(
        scene,
        kind="slow_boot",
        match=f"/{re.escape(names.instance_name(scene.name, 0)[:-1])}[0-9]+$",
        delay_s=SLOW_BOOT_S,
    )
    vm = _some_vm(scene, UNBORN)
    if vm is not None:
        with contextlib.suppress(NotFoundError):
            scene.site.context.cloud.compute.delete_instance(*vm)


def _some_vm(scene: Scene, states: frozenset[str] | set[str]) -> tuple[str, str] | None:
    """Zone and name of one of the batch's VMs in such a state, waited for a while as long as anybody is at the batch."""
    give_up_at = time.monotonic() + VM_WAIT_S
    while time.monotonic() < give_up_at and scene.client.is_running():
        with contextlib.suppress(HpcError):
            found = scene.site.context.cloud.compute.instances(names.labels_of_batch(scene.name))
            vms = sorted((vm.zone, vm.name) for vm in found if vm.status in states)
            if vms:
                return scene.chance.choice(vms)
        time.sleep(LOOK_EVERY_S)
    return None


def _restart_cloud(scene: Scene) -> None:
    """Every VM dies with it, as in a zone that loses its power."""
    if scene.site.faults is not None:
        scene.site.faults.restart()


def _destroy_by_hand(scene: Scene) -> None:
    """Run an operator's plain ``pulumi destroy`` on the batch's stack; Pulumi's lock refuses it while the stack is in use."""
    environment = {**scene.site.environment, **scene.site.by_hand()}
    program = shutil.which("pulumi", path=environment["PATH"]) or "pulumi"
    folder = scene.site.context.root / "infra" / "analysis"
    words = [program, "destroy", "--yes", "--non-interactive", "--skip-preview", "--stack", scene.name]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 (the engine, as an operator calls it)
            words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT_S
        )


def _clean_up(scene: Scene) -> None:
    """Somebody cleans up beside the run. A living client's batch is none of its business."""
    what = scene.chance.choice([[], ["--everything"], ["--batch", scene.name]])
    scene.was_ended |= not scene.client.is_running()
    scene.cleanups.append(scene.start("cleanup", *what, "--yes", "--json"))


def _attach_too(scene: Scene) -> None:
    scene.start(*scene.attach_words())


def _attach_from_copy(scene: Scene) -> None:
    """From a copy of the state folder, as a restored backup or a synced home is; half of them insist."""
    environment = copied_home(scene.site.environment, scene.site.folder / f"{scene.name}-copy")
    insists = ["--take-over"] if scene.chance.random() < 0.5 else []
    scene.start(*scene.attach_words(), *insists, environment=environment)


ACTS: Mapping[Blow, Callable[[Scene], None]] = {
    Blow.KILL_CLIENT: _kill_client,
    Blow.KILL_GROUP: _kill_group,
    Blow.KILL_ENGINE: _harm(Harm.KILL_ENGINE),
    Blow.SIGINT: _interrupt,
    Blow.SLEEP: _sleep,
    Blow.FULL_DISK: _harm(Harm.FULL_DISK),
    Blow.VM_HANGS: _hang,
    Blow.VM_VANISHES: _let_vm_vanish,
    Blow.PREEMPTION: _preempt,
    Blow.SSH_LOST: _lose_ssh,
    Blow.CLOUD_RESTARTS: _restart_cloud,
    Blow.DESTROY_BY_HAND: _destroy_by_hand,
    Blow.CLEANUP: _clean_up,
    Blow.SECOND_CLIENT: _attach_too,
    Blow.COPIED_STATE: _attach_from_copy,
    Blow.API_503: _api_fault("api-503"),
    Blow.API_403: _api_fault("api-403"),
    Blow.DROP: _api_fault("drop"),
}
