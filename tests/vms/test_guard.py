"""No way out of the guard leaves a VM, and whatever it could not do is told."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import CloudError, HpcError, LeftoverError, PermissionDeniedError
from runner.google.compute import Compute
from runner.journal.journal import Journal
from runner.vms.guard import Patience, Vm, VmCloud, VMGuard
from tests.support.sessions import open_resources

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 60
QUICK = Patience(gone_s=5, settle_s=0, poll_s=0.01)
FIRST, SECOND = Vm(name="b-0", zone="z-a", facts={"machine_type": "c2-standard-4"}), Vm(name="b-1", zone="z-b")


class FakeCloud:
    """VMs in a set. ``refuse`` is asked before each deletion; ``late`` appear after so many looks."""

    def __init__(self) -> None:
        self.there: set[tuple[str, str]] = set()
        self.deleted: list[str] = []
        self.refuse: Callable[[str], None] = lambda name: None
        self.late: dict[str, int] = {}

    def create(self, vm: Vm) -> None:
        self.there.add((vm.zone, vm.name))

    def instance(self, zone: str, name: str) -> object | None:
        if name in self.late:
            self.late[name] -= 1
            if self.late[name] == 0:
                self.there.add((zone, name))
        return "RUNNING" if (zone, name) in self.there else None

    def delete_instance(self, zone: str, name: str) -> None:
        self.refuse(name)
        self.deleted.append(name)
        self.there.discard((zone, name))


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


def test_compute_is_such_a_cloud() -> None:
    assert {"instance", "delete_instance"} <= set(dir(Compute))
    as_seam: type[VmCloud] = Compute
    assert as_seam is Compute


@pytest.mark.parametrize(
    "error", [ValueError("first"), KeyboardInterrupt(), SystemExit(3), HpcError("first")], ids=repr
)
def test_any_exception_deletes_all_and_is_not_hidden(cloud: FakeCloud, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, VMGuard(cloud, [FIRST, SECOND], patience=QUICK, tell=print):
        cloud.create(FIRST)
        cloud.create(SECOND)
        raise error
    assert caught.value is error
    assert (cloud.there, sorted(cloud.deleted)) == (set(), ["b-0", "b-1"])


def test_leaving_without_disarming_deletes(cloud: FakeCloud) -> None:
    with VMGuard(cloud, FIRST, patience=QUICK, tell=print):
        cloud.create(FIRST)
    assert cloud.there == set()


def test_disarmed_vms_stay(cloud: FakeCloud) -> None:
    with VMGuard(cloud, [FIRST, SECOND], patience=QUICK, tell=print) as guard:
        cloud.create(FIRST)
        cloud.create(SECOND)
        guard.disarm("b-0")
        assert guard.guarded == (SECOND,)
    assert cloud.there == {("z-a", "b-0")}
    with VMGuard(cloud, FIRST, patience=QUICK, tell=print) as guard:
        guard.disarm()
        guard.disarm()
    assert cloud.there == {("z-a", "b-0")}


def test_what_was_never_created_or_is_gone_already_is_no_error(cloud: FakeCloud) -> None:
    with VMGuard(cloud, [FIRST, SECOND], patience=QUICK, tell=print) as guard:
        guard.created("b-0")
    assert cloud.deleted == []


def test_an_insertion_that_was_on_its_way_is_waited_for(cloud: FakeCloud) -> None:
    patience = Patience(gone_s=30, settle_s=0.5, poll_s=0.01)
    with pytest.raises(ValueError, match="cut off"), VMGuard(cloud, FIRST, patience=patience, tell=print):
        cloud.late["b-0"] = 3
        raise ValueError("cut off while the insertion was sent")
    assert (cloud.there, cloud.deleted) == (set(), ["b-0"])


def test_two_zones_of_one_name_are_both_deleted(cloud: FakeCloud) -> None:
    elsewhere = Vm(name="b-0", zone="z-b")
    with VMGuard(cloud, FIRST, patience=QUICK, tell=print) as guard:
        guard.add(elsewhere)
        cloud.create(FIRST)
        cloud.create(elsewhere)
    assert cloud.there == set()


def test_errors_are_tried_again_and_do_not_stop_the_others(cloud: FakeCloud) -> None:
    refusals = ["b-0", "b-0"]
    told: list[str] = []

    def refuse(name: str) -> None:
        if name in refusals:
            refusals.remove(name)
            raise CloudError("backend error", status=503)

    cloud.refuse = refuse
    with VMGuard(cloud, [FIRST, SECOND], patience=QUICK, tell=told.append):
        cloud.create(FIRST)
        cloud.create(SECOND)
    assert cloud.there == set()
    assert len(told) == 2


def test_what_cannot_be_deleted_is_named(cloud: FakeCloud, tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        if name == "b-0":
            raise PermissionDeniedError("Required 'compute.instances.delete' permission", status=403)

    cloud.refuse = refuse
    cloud.create(FIRST)
    cloud.create(SECOND)
    with Journal(folder=tmp_path).begin("b", "run") as state:
        guard = VMGuard(cloud, [FIRST, SECOND], patience=QUICK, journal=state, tell=print)
        with pytest.raises(LeftoverError, match=r"compute\.instances\.delete") as caught, guard:
            assert guard.guarded == (FIRST, SECOND)
        assert caught.value.items == ("instance b-0 in z-a",)
        assert [item.name for item in open_resources(state.read())] == ["b-0"]


def test_a_failing_deletion_is_a_note_on_the_first_error(cloud: FakeCloud) -> None:
    def refuse(name: str) -> None:
        raise CloudError("never")

    cloud.refuse = refuse
    patience = Patience(gone_s=0.05, settle_s=0, poll_s=0.01)
    with pytest.raises(ValueError, match="first") as caught, VMGuard(cloud, FIRST, patience=patience, tell=print):
        cloud.create(FIRST)
        raise ValueError("first")
    assert caught.value.__notes__ == ["still there: instance b-0 in z-a: never"]


def test_the_journal_knows_before_the_vm_exists_and_after_it_is_gone(cloud: FakeCloud, tmp_path: Path) -> None:
    with Journal(folder=tmp_path).begin("b", "run") as state:
        with VMGuard(cloud, FIRST, patience=QUICK, journal=state, tell=print) as guard:
            (resource,) = state.read().resources
            assert (resource.kind, resource.name, resource.zone, resource.created) == ("instance", "b-0", "z-a", None)
            assert resource.facts == {"machine_type": "c2-standard-4"}
            cloud.create(FIRST)
            guard.created("b-0")
            guard.add(SECOND)
            assert [item.created is not None for item in open_resources(state.read())] == [True, False]
            guard.gone("b-1", "404 from the operation")
        assert [(item.name, *item.answers) for item in state.read().gone] == [
            ("b-0", "deleted, then not found"),
            ("b-1", "404 from the operation"),
        ]


def test_without_a_journal_nothing_is_guarded_or_created(cloud: FakeCloud, tmp_path: Path) -> None:
    state = Journal(folder=tmp_path).begin("b", "run")
    state.close()
    with pytest.raises(HpcError, match="journal cannot be written"), VMGuard(cloud, FIRST, journal=state, tell=print):
        cloud.create(FIRST)
    assert cloud.there == set()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_delete_and_a_second_one_does_not_stop_that(signum: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.vms.guard_child", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "created\n"
        process.send_signal(signum)
        assert process.stdout.readline() == "deleting\n"
        process.send_signal(signum)
        process.stdin.write("\n")
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == (-signum if signum == signal.SIGINT else 128 + signum)
    assert not (tmp_path / "b-0").exists()
    session = Journal(folder=tmp_path / "journal").read("b")
    assert session is not None
    assert (open_resources(session), len(session.gone)) == ((), 1)
