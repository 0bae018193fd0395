"""VMs without a client, on a real embedded cloud, with real jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hardware import JobStatus
from runner.lease.keeper import read_preempted
from runner.model import names
from tests.packer.emulated_vm import PROJECT, WALL_S, ZONE, EmulatedCloud, EmulatedVm, run_cloud, until

pytestmark = pytest.mark.xdist_group("watch-lease")

LONG = "echo begun\nsleep 600\necho ended\n"
SHORT = "echo 42 >answer\n"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, opensees_prefix: Path) -> Iterator[EmulatedCloud]:
    with run_cloud(tmp_path_factory.mktemp("cloud"), opensees_prefix) as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def without_faults(cloud: EmulatedCloud) -> Iterator[None]:
    yield
    cloud.no_faults()


def attempt(job: str) -> str:
    """Return the ID of a job's first attempt, as a client names it."""
    return names.attempt_folder(job, 1)


def begin(vm: EmulatedVm, job: str, script: str = LONG, **more: float) -> None:
    """Start a job and wait until it runs."""
    vm.submit(job, script, **more)
    until(lambda: vm.jobs.get_job_status(attempt(job)) is not JobStatus.PENDING_SUBMIT, f"{job} is there")


def test_an_expired_lease_ends_the_vm_after_finished_results_are_pushed(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("out", lease_s=3)
    vm.write_lease(3600)
    begin(vm, "endless")
    vm.submit("finished", SHORT)
    until(lambda: vm.has_committed("finished"), "the finished job is in the bucket")
    assert vm.status() == "RUNNING"
    vm.write_lease(0.5)
    until(lambda: vm.status() == "gone", f"the VM deletes itself: {vm.log()}")
    assert vm.manifest("finished")["end"]["exit_code"] == 0
    assert vm.results("endless") == []
    assert cloud.names_of("_control/out/preempted/") == []


def test_a_vm_whose_client_never_wrote_a_lease_is_deleted_after_a_grace_period(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("never", lease_s=3, grace=2)
    until(lambda: vm.status() == "gone", "the VM deletes itself")


def test_a_failed_push_is_retried_before_the_vm_is_deleted(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("again", lease_s=3)
    vm.write_lease(3600)
    cloud.fault(kind="http", match=r"POST /upload/storage/v1/b/\S+/o.*", status=404, times=None)
    vm.submit("finished", SHORT)
    vm.jobs.wait([attempt("finished")], timeout=60, after=True)
    assert not vm.has_committed("finished")
    cloud.no_faults()
    vm.write_lease(0.5)
    until(lambda: vm.status() == "gone", "the VM deletes itself")
    assert vm.has_committed("finished")


def test_a_running_job_of_a_detached_batch_ends(cloud: EmulatedCloud, tmp_path: Path) -> None:
    vm = cloud.make_vm("detached", lease_s=3)
    go = tmp_path / "go"
    begin(vm, "running", f"until [ -e '{go}' ]; do sleep 0.1; done\necho 42 >answer\n")
    vm.write_lease(0.2, detached=True)
    until(lambda: "when its running jobs have ended" in vm.log(), "the lease has expired")
    assert vm.status() == "RUNNING"
    go.touch()
    until(lambda: vm.status() == "gone", "the VM deletes itself")
    assert vm.has_committed("running")


def test_a_job_of_a_detached_batch_runs_no_longer_than_its_deadline(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("late", lease_s=3)
    begin(vm, "endless", timeout_s=2)
    vm.write_lease(0.2, detached=True)
    until(lambda: vm.status() == "gone", "the VM deletes itself")
    assert vm.manifest("endless")["end"]["how"] == "timeout"


def test_an_unreadable_lease_has_not_expired(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("unreadable", lease_s=3, grace=3600)
    vm.write_lease(3600)
    begin(vm, "endless")
    cloud.fault(kind="http", match=r"GET /storage/v1/b/\S+lease", status=503, times=None)
    vm.write_lease(0.2)
    until(lambda: "cannot be read" in vm.log(), "the watchdog noticed")
    assert vm.jobs.get_job_status(attempt("endless")) is JobStatus.RUNNING
    cloud.no_faults()
    until(lambda: vm.status() == "gone", "the VM deletes itself")


def test_a_lease_that_is_unreadable_for_too_long_ends_the_vm(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("blind", lease_s=3, grace=1)
    vm.write_lease(0.2)
    cloud.fault(kind="http", match=r"GET /storage/v1/b/\S+lease", status=503, times=None)
    until(lambda: vm.status() == "gone", "the VM deletes itself")


def test_a_changed_deadline_applies_to_a_running_job(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("moved", lease_s=3)
    vm.write_lease(3600)
    begin(vm, "endless", timeout_s=600)
    vm.write_lease(3600, deadlines={"endless": 1.0, "nobody": 5.0, "../endless": 7.0})
    assert vm.jobs.wait([attempt("endless")], timeout=60)[attempt("endless")] is JobStatus.FAILED
    output = vm.jobs.get_job_output(attempt("endless"))
    assert output is not None
    assert output.timed_out


def test_a_killed_watchdog_is_restarted(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("killed", lease_s=3)
    vm.write_lease(3600)
    until(lambda: "watching the lease" in vm.log(), "the watchdog is running")
    vm.watchdog().kill()
    until(lambda: vm.log().count("watching the lease") > 1, f"the watchdog was restarted: {vm.log()}")
    vm.write_lease(0.2)
    until(lambda: vm.status() == "gone", "the VM deletes itself")


def test_a_vm_that_may_not_delete_itself_is_deleted_at_max_run_duration_with_its_disk(
    tmp_path: Path, opensees_prefix: Path
) -> None:
    with run_cloud(tmp_path, opensees_prefix) as cloud:  # of its own, because its clock is moved
        vm = cloud.make_vm("walled", lease_s=3, may_delete_itself=False)
        vm.write_lease(0.2)
        until(lambda: "cannot delete this VM" in vm.log(), "the VM may not delete itself")
        assert vm.status() == "RUNNING", "maxRunDuration does not apply to a stopped VM"
        cloud.ask("POST", "/_local/clock", {"advance_s": WALL_S})
        until(lambda: vm.status() == "gone", "Google deletes it at maxRunDuration")
        disks = cloud.ask("GET", f"/compute/v1/projects/{PROJECT}/zones/{ZONE}/disks").get("items", [])
        assert [disk["name"] for disk in disks if disk["name"] == vm.name] == []


def test_a_preempted_vm_reports_it_and_leaves_no_partial_results(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("preempted", lease_s=600)
    vm.write_lease(3600)
    begin(vm, "endless")
    cloud.fault(kind="http", match=r"POST /upload/storage/v1/b/\S+/o.*", status=404, times=None)
    vm.submit("finished", SHORT)
    vm.jobs.wait([attempt("finished")], timeout=60, after=True)
    cloud.no_faults()
    vm.preempt()
    until(lambda: read_preempted(cloud.store, "preempted") == {vm.name}, "the marker is there")
    marker = cloud.read_json(names.preemption_prefix("preempted") + vm.name)
    assert marker["instance"] == vm.name
    until(lambda: vm.status() == "gone", "the VM is gone")
    assert vm.has_committed("finished")
    assert vm.results("endless") == []


def test_a_deleted_vm_reports_no_preemption_and_leaves_no_partial_results(cloud: EmulatedCloud) -> None:
    vm = cloud.make_vm("deleted", lease_s=600)
    vm.write_lease(3600)
    begin(vm, "endless")
    cloud.compute.delete_instance("europe-west4-a", vm.name)
    assert read_preempted(cloud.store, "deleted") == set()
    assert vm.results("endless") == []
