"""The faults of random trials, in addition to those of the matrix: what users, colleagues, computers and clouds may do at any moment."""

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
from runner.drill.faults import API_FAULTS, STARTING, Fault, descendants
from runner.drill.site import Client, DrillSite
from runner.drill.targets import copied_state_folder
from runner.errors import HpcError, NotFoundError
from runner.model import names

VM_WAIT_S = 20.0
LOOK_EVERY_S = 0.05
SLOW_BOOT_S = 4.0
LONGEST_SLEEP_LEASES = 3.0
COMMAND_LIMIT_S = 300.0


@dataclass(kw_only=True)
class Scene:
    """A batch into which faults are injected. ``client`` started it. ``others``: further commands that were started beside it.

    ``cleanups``: those of them whose exit code reports what they left to a living client.
    ``hung``: VMs that hang, which only a client or ``maxRunDuration`` ends. ``was_ended``: the batch was ended on purpose, so that
    it may have fewer results than analyses.
    """

    evidence: Evidence
    client: Client
    chance: random.Random
    others: list[Client] = field(default_factory=list)
    cleanups: list[Client] = field(default_factory=list)
    hung: set[str] = field(default_factory=set)
    was_ended: bool = False
    descendants: list[psutil.Process] = field(default_factory=list)

    @property
    def site(self) -> DrillSite:
        """The site of the drill."""
        return self.evidence.site

    @property
    def name(self) -> str:
        """The batch's name."""
        return self.evidence.batch.name

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> Client:
        """Start another command beside the client."""
        client = self.site.start(*words, environment=environment)
        self.others.append(client)
        return client

    def attach_words(self) -> list[str]:
        """Return the arguments of the user's ``invoke attach``."""
        return ["attach", "--batch", self.name, "--json", "--results", str(self.evidence.results)]


class RandomFault(Enum):
    """A fault that is injected at a random moment."""

    KILL_CLIENT = Fault.KILL_CLIENT.value
    KILL_GROUP = Fault.KILL_GROUP.value
    KILL_ENGINE = Fault.KILL_ENGINE.value
    SIGINT = Fault.SIGINT.value
    SLEEP = "sleep"
    FULL_DISK = Fault.FULL_DISK.value
    VM_HANGS = "vm-hangs"
    VM_VANISHES = "vm-vanishes"
    PREEMPTION = Fault.PREEMPTION.value
    SSH_LOST = "ssh-lost"
    CLOUD_RESTARTS = "cloud-restarts"
    DESTROY_BY_HAND = "destroy-by-hand"
    CLEANUP = "cleanup"
    SECOND_CLIENT = "second-client"
    COPIED_STATE = "copied-state"
    API_503 = Fault.API_503.value
    API_403 = Fault.API_403.value
    DROP = Fault.DROP.value

    def inject(self, scene: Scene) -> None:
        """Inject it now. Some wait for what they need, for a while."""
        INJECTORS[self](scene)


def _fault_now(fault: Fault) -> Callable[[Scene], None]:
    def do(scene: Scene) -> None:
        if scene.client.is_running():
            fault.inject(scene.site, scene.client, scene.name)

    return do


def _interrupt(scene: Scene) -> None:
    scene.was_ended = True
    _fault_now(Fault.SIGINT)(scene)


def _kill_group(scene: Scene) -> None:
    scene.descendants += descendants(scene.client.pid)
    _fault_now(Fault.KILL_GROUP)(scene)


def _kill_client(scene: Scene) -> None:
    scene.descendants += descendants(scene.client.pid)
    _fault_now(Fault.KILL_CLIENT)(scene)


def _sleep(scene: Scene) -> None:
    """Suspend the client as a closed laptop does, for a time shorter or longer than its lease."""
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
        with contextlib.suppress(NotFoundError):  # it was deleted in between
            scene.site.context.cloud.compute.simulate_maintenance(*vm)


def _let_vm_vanish(scene: Scene) -> None:
    """Delete a VM while it is being created, as Google does when it takes one back."""
    _arm(
        scene,
        kind="slow_boot",
        match=f"/{re.escape(names.instance_name(scene.name, 0)[:-1])}[0-9]+$",
        delay_s=SLOW_BOOT_S,
    )
    vm = _some_vm(scene, STARTING)
    if vm is not None:
        with contextlib.suppress(NotFoundError):
            scene.site.context.cloud.compute.delete_instance(*vm)


def _some_vm(scene: Scene, states: frozenset[str] | set[str]) -> tuple[str, str] | None:
    """Return zone and name of one of the batch's VMs in such a state; wait for one for a while, as long as the client runs."""
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
    """Kill the cloud and start it again. Every VM dies with it, as in a zone that loses its power."""
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
    """Run a cleanup beside the client. It must not touch the batch of a living client."""
    what = scene.chance.choice([[], ["--everything"], ["--batch", scene.name]])
    scene.was_ended |= not scene.client.is_running()
    scene.cleanups.append(scene.start("cleanup", *what, "--yes", "--json"))


def _attach_too(scene: Scene) -> None:
    scene.start(*scene.attach_words())


def _attach_from_copy(scene: Scene) -> None:
    """Attach from a copy of the state folder, such as a restored backup or a synced folder; half of them take the batch over."""
    environment = copied_state_folder(scene.site.environment, scene.site.folder / f"{scene.name}-copy")
    take_over = ["--take-over"] if scene.chance.random() < 0.5 else []
    scene.start(*scene.attach_words(), *take_over, environment=environment)


INJECTORS: Mapping[RandomFault, Callable[[Scene], None]] = {
    RandomFault.KILL_CLIENT: _kill_client,
    RandomFault.KILL_GROUP: _kill_group,
    RandomFault.KILL_ENGINE: _fault_now(Fault.KILL_ENGINE),
    RandomFault.SIGINT: _interrupt,
    RandomFault.SLEEP: _sleep,
    RandomFault.FULL_DISK: _fault_now(Fault.FULL_DISK),
    RandomFault.VM_HANGS: _hang,
    RandomFault.VM_VANISHES: _let_vm_vanish,
    RandomFault.PREEMPTION: _preempt,
    RandomFault.SSH_LOST: _lose_ssh,
    RandomFault.CLOUD_RESTARTS: _restart_cloud,
    RandomFault.DESTROY_BY_HAND: _destroy_by_hand,
    RandomFault.CLEANUP: _clean_up,
    RandomFault.SECOND_CLIENT: _attach_too,
    RandomFault.COPIED_STATE: _attach_from_copy,
    RandomFault.API_503: _api_fault("api-503"),
    RandomFault.API_403: _api_fault("api-403"),
    RandomFault.DROP: _api_fault("drop"),
}
