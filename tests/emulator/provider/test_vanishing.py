"""VMs that disappear while they are being created, as spot VMs do: the errors for the engine, and the state afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pulumi_gcp as gcp
import pytest

from runner.emulator.provider.compute_instance import (
    FIRST_LOOK_S,
    INSTANCE,
    LONGEST_PAUSE_S,
    MISSES,
    SHORTEST_PAUSE_S,
    STATUS_LIMIT_S,
)
from runner.emulator.provider.resource import Cloud, Locks, ProviderError, Settings, UnfinishedError
from runner.emulator.provider.rest import Rest
from runner.model.stockout import Lost, classify
from runner.stacks.errors import Complaint, describe_failure

from .engine import Engine, failure_of
from .recorder import Recorder
from .small import ZONE, after, machine
from .test_refusals import read_diagnostics

LOST = "Error waiting for instance to reach desired status RUNNING: couldn't find resource (21 retries)"
PREEMPTION = {"kind": "preempt", "notice_s": 0.0}
SPOT = {
    "provisioning_model": "SPOT",
    "preemptible": True,
    "automatic_restart": False,
    "instance_termination_action": "DELETE",
}
NEWS = {
    "name": "vm",
    "machineType": "c2-standard-4",
    "bootDisk": {"source": "d"},
    "networkInterfaces": [{"network": "default"}],
    "desiredStatus": "RUNNING",
}
DONE = {"selfLink": "projects/p/zones/z/operations/o", "status": "DONE"}


class Pauses(threading.Event):
    """Records the pauses, without waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked_s.append(timeout or 0.0)
        return self.is_set()


class Looks:
    """A cloud that accepts any insert; ``statuses`` are its next answers, '' for 404, the last one forever."""

    def __init__(self, *statuses: str) -> None:
        self._statuses = list(statuses)
        self.pauses = Pauses()
        transport = httpx.MockTransport(self._answer)
        settings = Settings(project="p", region="r", zone="z")
        self.cloud = Cloud(
            rest=Rest("http://cloud", "token", transport=transport),
            settings=settings,
            locks=Locks(),
            cancelled=self.pauses,
            pace=1.0,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json=DONE)
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return httpx.Response(200, json={"status": status}) if status else httpx.Response(404, json={})

    def create(self) -> str:
        return INSTANCE.operations.create(self.cloud, dict(NEWS))


def test_a_missing_vm_is_polled_21_times() -> None:
    looks = Looks("")
    with pytest.raises(ProviderError) as caught:
        looks.create()
    assert str(caught.value) == LOST
    assert not isinstance(caught.value, UnfinishedError), "nothing of it is in the state"
    assert len(looks.pauses.asked_s) == MISSES + 1
    assert looks.pauses.asked_s[:4] == [FIRST_LOOK_S, SHORTEST_PAUSE_S, 2 * SHORTEST_PAUSE_S, 4 * SHORTEST_PAUSE_S]
    assert set(looks.pauses.asked_s[4:]) == {LONGEST_PAUSE_S}
    assert 180 <= sum(looks.pauses.asked_s) <= 200


def test_a_vm_that_appears_late_is_waited_for() -> None:
    assert Looks(*[""] * MISSES, "STAGING", *[""] * MISSES, "RUNNING").create() == "projects/p/zones/z/instances/vm"


def test_a_vm_that_stays_in_another_status_is_recorded() -> None:
    looks = Looks("TERMINATED")
    with pytest.raises(UnfinishedError, match=r"timeout while waiting .*last state: 'TERMINATED', timeout: 20m0s"):
        looks.create()
    assert sum(looks.pauses.asked_s) >= STATUS_LIMIT_S


def test_a_cancelled_engine_ends_the_wait() -> None:
    looks = Looks("")
    looks.pauses.set()
    with pytest.raises(UnfinishedError, match="context canceled"):
        looks.create()


def test_without_a_desired_status_nothing_is_waited_for() -> None:
    looks = Looks("")
    INSTANCE.operations.create(looks.cloud, {key: value for key, value in NEWS.items() if key != "desiredStatus"})
    assert looks.pauses.asked_s == []


@contextmanager
def preempted(rest: httpx.Client, name: str, event: str) -> Iterator[None]:
    """Preempt the VM of this name at this event."""
    step = {"at": event, "fault": PREEMPTION | {"match": f"/instances/{name}$"}}
    rest.post("/_local/scenario", json={"scenario": [step]}).raise_for_status()
    yield
    assert rest.get("/_local/scenario").json()["scenario"] == [], "the step did not come"


def test_the_engine_gets_an_error_for_a_vm_that_disappears_as_soon_as_it_runs(
    engine: Engine, rest: httpx.Client, recorder: Recorder
) -> None:
    def declare() -> None:
        for name in ("lost-vm", "other-vm"):
            machine(name, desired_status="RUNNING", scheduling=SPOT)

    with engine.running(declare) as stack:
        with preempted(rest, "lost-vm", "^instance [^ ]*/lost-vm RUNNING$"):
            told = read_diagnostics(failure_of(stack.up, go_on=True))
        assert LOST in told["lost-vm"]
        assert set(stack.resources()) == {("Instance", "other-vm")}
        failure = describe_failure("up of s", [Complaint(text=told["lost-vm"], resource="lost-vm")])
        assert classify(failure) == Lost(message=str(failure), vms=("lost-vm",))
        stack.up(refresh=True)
        assert set(stack.resources()) == {("Instance", "lost-vm"), ("Instance", "other-vm")}


def test_the_engine_gets_an_error_for_a_vm_that_is_gone_before_its_iam_member_is_created(
    engine: Engine, rest: httpx.Client
) -> None:
    def declare() -> None:
        vm = machine("early-vm", desired_status="RUNNING", scheduling=SPOT)
        gcp.compute.InstanceIAMMember(
            "early-vm-self-delete",
            zone=ZONE,
            instance_name="early-vm",
            role="roles/compute.viewer",
            member="user:someone@example.com",
            opts=after(vm),
        )

    path = f"/compute/v1/projects/demo/zones/{ZONE}/instances/early-vm"
    fault = {"kind": "http", "match": "GET [^?]*early-vm/getIamPolicy", "status": 404, "reason": "notFound"}
    fault["message"] = f"The resource '{path.removeprefix('/compute/v1/')}' was not found"
    rest.post("/_local/faults", json=fault).raise_for_status()
    with engine.running(declare) as stack:
        told = read_diagnostics(failure_of(stack.up, go_on=True))["early-vm-self-delete"]
        assert f'Error retrieving IAM policy for compute instance "{path.removeprefix("/compute/v1/")}"' in told
        assert "googleapi: Error 404: The resource" in told
        failure = describe_failure("up of s", [Complaint(text=told, resource="early-vm-self-delete")])
        assert classify(failure) == Lost(message=str(failure), vms=("early-vm",))
