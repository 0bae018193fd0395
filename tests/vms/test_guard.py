"""No way out of the guard leaves a VM, and every failed deletion is reported."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.context import JournalContext
from runner.errors import CloudError, HpcError, LeftoverError, PermissionDeniedError
from runner.google import GONE_ALREADY
from runner.journal.journal import Journals
from runner.model.events import Event, Listener
from runner.model.leftover import Item
from runner.vms.guard import GuardLimits, Vm, VMGuard
from tests.support.journals import open_resources
from tests.support.small_cloud import SmallCompute, small_context

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 60
QUICK = GuardLimits(gone_s=5, settle_s=0, poll_s=0.01)
FIRST, SECOND = Vm(name="b-0", zone="z-a", facts={"machine_type": "c2-standard-4"}), Vm(name="b-1", zone="z-b")


class FakeInventory:
    """VMs in a set. ``refuse`` is asked before each deletion; ``late`` appear after this many attempts."""

    def __init__(self) -> None:
        self.there: set[tuple[str, str]] = set()
        self.deleted: list[str] = []
        self.refuse: Callable[[str], None] = lambda name: None
        self.late: dict[str, int] = {}

    def create(self, vm: Vm) -> None:
        self.there.add((vm.zone, vm.name))

    def remove(self, item: Item) -> str:
        if item.name in self.late:
            self.late[item.name] -= 1
            if self.late[item.name] == 0:
                self.there.add((item.location, item.name))
        if (item.location, item.name) not in self.there:
            return GONE_ALREADY
        self.refuse(item.name)
        self.deleted.append(item.name)
        self.there.discard((item.location, item.name))
        return "deleted"


@pytest.fixture
def cloud() -> FakeInventory:
    return FakeInventory()


@pytest.fixture
def context(cloud: FakeInventory, tmp_path: Path) -> Iterator[JournalContext]:
    context = small_context(tmp_path, SmallCompute(), inventory=cloud)
    with context.journals.begin("b", "run") as state:
        yield context.with_journal(state)


@pytest.mark.parametrize(
    "error", [ValueError("first"), KeyboardInterrupt(), SystemExit(3), HpcError("first")], ids=repr
)
def test_any_exception_deletes_all_and_is_not_hidden(
    cloud: FakeInventory, context: JournalContext, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught, VMGuard(context, [FIRST, SECOND], limits=QUICK):
        cloud.create(FIRST)
        cloud.create(SECOND)
        raise error
    assert caught.value is error
    assert (cloud.there, sorted(cloud.deleted)) == (set(), ["b-0", "b-1"])


def test_leaving_without_disarming_deletes(cloud: FakeInventory, context: JournalContext) -> None:
    with VMGuard(context, FIRST, limits=QUICK):
        cloud.create(FIRST)
    assert cloud.there == set()


def test_disarmed_vms_stay(cloud: FakeInventory, context: JournalContext) -> None:
    with VMGuard(context, [FIRST, SECOND], limits=QUICK) as guard:
        cloud.create(FIRST)
        cloud.create(SECOND)
        guard.disarm("b-0")
        assert guard.guarded == (SECOND,)
    assert cloud.there == {("z-a", "b-0")}
    with VMGuard(context, FIRST, limits=QUICK) as guard:
        guard.disarm()
        guard.disarm()
    assert cloud.there == {("z-a", "b-0")}


def test_a_vm_that_was_never_created_or_is_already_gone_is_no_error(
    cloud: FakeInventory, context: JournalContext
) -> None:
    with VMGuard(context, [FIRST, SECOND], limits=QUICK) as guard:
        guard.created("b-0")
    assert cloud.deleted == []


def test_a_late_insertion_is_waited_for(cloud: FakeInventory, context: JournalContext) -> None:
    limits = GuardLimits(gone_s=30, settle_s=0.5, poll_s=0.01)
    with pytest.raises(ValueError, match="cut off"), VMGuard(context, FIRST, limits=limits):
        cloud.late["b-0"] = 3
        raise ValueError("cut off while the insertion was sent")
    assert (cloud.there, cloud.deleted) == (set(), ["b-0"])


def test_two_zones_of_one_name_are_both_deleted(cloud: FakeInventory, context: JournalContext) -> None:
    elsewhere = Vm(name="b-0", zone="z-b")
    with VMGuard(context, FIRST, limits=QUICK) as guard:
        guard.add(elsewhere)
        cloud.create(FIRST)
        cloud.create(elsewhere)
    assert cloud.there == set()


def test_errors_are_tried_again_and_do_not_stop_the_others(cloud: FakeInventory, context: JournalContext) -> None:
    refusals = ["b-0", "b-0"]
    reported: list[Event] = []
    listener = Listener(on_progress=reported.append)

    def refuse(name: str) -> None:
        if name in refusals:
            refusals.remove(name)
            raise CloudError("backend error", status=503)

    cloud.refuse = refuse
    with VMGuard(context.with_listener(listener), [FIRST, SECOND], limits=QUICK):
        cloud.create(FIRST)
        cloud.create(SECOND)
    assert cloud.there == set()
    assert len([event for event in reported if "is not deleted yet" in event.as_json()["message"]]) == 2


def test_what_cannot_be_deleted_is_named(cloud: FakeInventory, context: JournalContext) -> None:
    def refuse(name: str) -> None:
        if name == "b-0":
            raise PermissionDeniedError("Required 'compute.instances.delete' permission", status=403)

    cloud.refuse = refuse
    cloud.create(FIRST)
    cloud.create(SECOND)
    guard = VMGuard(context, [FIRST, SECOND], limits=QUICK)
    with pytest.raises(LeftoverError, match=r"compute\.instances\.delete") as caught, guard:
        assert guard.guarded == (FIRST, SECOND)
    assert caught.value.items == ("instance b-0 in z-a",)
    assert [item.name for item in open_resources(context.journal.read())] == ["b-0"]


def test_a_failing_deletion_is_a_note_on_the_first_error(cloud: FakeInventory, context: JournalContext) -> None:
    def refuse(name: str) -> None:
        raise CloudError("never")

    cloud.refuse = refuse
    limits = GuardLimits(gone_s=0.05, settle_s=0, poll_s=0.01)
    with pytest.raises(ValueError, match="first") as caught, VMGuard(context, FIRST, limits=limits):
        cloud.create(FIRST)
        raise ValueError("first")
    assert caught.value.__notes__ == ["b: still there: instance b-0 in z-a: never"]


def test_the_journal_knows_before_the_vm_exists_and_after_it_is_gone(
    cloud: FakeInventory, context: JournalContext
) -> None:
    state = context.journal
    with VMGuard(context, FIRST, limits=QUICK) as guard:
        (resource,) = state.read().resources
        assert (resource.kind, resource.name, resource.zone, resource.created) == ("instance", "b-0", "z-a", None)
        assert resource.facts == {"machine_type": "c2-standard-4"}
        cloud.create(FIRST)
        guard.created("b-0")
        guard.add(SECOND)
        assert [item.created is not None for item in open_resources(state.read())] == [True, False]
        guard.gone("b-1", "404 from the operation")
    assert [(item.name, *item.answers) for item in state.read().gone] == [
        ("b-0", "deleted"),
        ("b-1", "404 from the operation"),
    ]


def test_without_a_journal_nothing_is_guarded_or_created(cloud: FakeInventory, context: JournalContext) -> None:
    context.journal.close()
    with pytest.raises(HpcError, match="journal cannot be written"), VMGuard(context, FIRST):
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
    journal = Journals(folder=tmp_path / "journal").read("b")
    assert journal is not None
    assert (open_resources(journal), len(journal.gone)) == ((), 1)
