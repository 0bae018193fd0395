"""The fleet reports what became of each requested VM, and of no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.batch.fleet import Fleet
from runner.batch.last_pushes import LastPushes
from runner.batch.messages import ThreadFailed, VMDown, VMReady, VMsCreated, VMsRefused
from runner.batch.rescue import PUSH_LIMIT_S
from runner.batch.stack import VMWish
from runner.errors import CloudError, HpcError, QuotaError, StackError, StockoutError, UnreachableError
from runner.google.compute import Instance
from runner.google.os_login import Login
from runner.model.events import Event, Listener
from runner.model.leftover import read_expires
from runner.model.settings import Settings
from runner.vms.boot import SSH_LIMIT_S
from tests.support.small_cloud import LIMIT_S, LOGIN, Inbox, SmallCompute, instance, small_context

WISHES = [
    VMWish(name=f"b-{index}", zone="europe-west4-a", machine_type="c2-standard-4", provisioning="spot")
    for index in range(3)
]


@dataclass(kw_only=True)
class SmallStack:
    """``on_up`` hears how manieth update it is and the VMs that are requested, does what the engine would do, and raises what it
    would raise. ``wishes``: those of each update; ``logins``: how many were asked for."""

    on_up: Callable[[int, list[str]], None]
    wishes: list[Sequence[VMWish]] = field(default_factory=list)
    logins: int = 0

    def check(self, *, within_s: float = 0.0) -> None:
        """Find that the lease is this client's."""

    def new_login(self) -> Login:
        self.logins += 1
        return LOGIN

    def update(self, wishes: Sequence[VMWish]) -> None:
        self.wishes.append(wishes)
        self.on_up(len(self.wishes), [wish.name for wish in wishes])


@contextmanager
def _fleet(
    folder: Path,
    compute: SmallCompute,
    on_up: Callable[[int, list[str]], None],
    *,
    stack: SmallStack | None = None,
    reported: list[Event] | None = None,
    **more: Any,
) -> Iterator[tuple[Fleet, Inbox]]:
    context = small_context(folder, compute, **more)
    inbox = Inbox()
    reported = [] if reported is None else reported
    listener = Listener(on_progress=reported.append)
    with context.journals.begin("b", "run") as journal:
        fleet = Fleet(
            context=context.with_listener(listener).with_journal(journal),
            stack=stack or SmallStack(on_up=on_up),
            max_run_s=3600,
            report=inbox.add,
        )
        fleet.start()
        try:
            yield fleet, inbox
        finally:
            fleet.close()
    assert inbox.of(ThreadFailed) == []


def _names(messages: Sequence[VMReady]) -> list[str]:
    return sorted(message.instance.name for message in messages)


def test_only_vms_that_are_not_there_are_refused(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-2"}
        raise StockoutError("europe-west4-a does not have enough resources available")

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES)
        (refused,) = inbox.wait_for(VMsRefused)
        assert refused.names == ("b-2",)
        assert isinstance(refused.error, StockoutError)
        assert _names(inbox.wait_for(VMReady, 2)) == ["b-0", "b-1"]


def test_a_silent_cloud_after_a_failure_refuses_no_created_vm(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-2"}
        if update == 2:
            compute.troubles["instances"] = [UnreachableError("no answer")] * 50
        raise StockoutError(f"{update} does not have enough resources available")

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES)
        (refused,) = inbox.wait_for(VMsRefused)
        assert refused.names == ("b-2",)
        assert str(refused.error) == "2 does not have enough resources available"
        assert refused.error.__cause__ is None


def test_vms_of_a_good_update_wait_for_a_cloud_that_is_silent_for_a_while(tmp_path: Path) -> None:
    compute = SmallCompute(troubles={"instances": [CloudError("busy", status=503)] * 3})

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished}

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES)
        inbox.wait_for(VMsCreated)
        assert inbox.of(VMsRefused) == []
        assert len(inbox.wait_for(VMReady, 3)) == 3


def test_a_vm_that_vanished_before_it_was_seen_is_down(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-1"}

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES)
        inbox.wait_for(VMsCreated)
        (down,) = inbox.of(VMDown)
        assert (down.name, down.witness) == ("b-1", "cloud")


def test_a_refusal_keeps_its_message_when_its_details_cannot_be_read(tmp_path: Path) -> None:
    compute = SmallCompute(troubles={"failed_operations": [UnreachableError("no answer")]})
    quota = QuotaError("Quota 'CPUS' exceeded.  Limit: 8.0 in region europe-west4")
    quota.__cause__ = StackError("the engine failed", diagnostics=["its words"])

    def on_up(update: int, wished: list[str]) -> None:
        raise quota

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES)
        (refused,) = inbox.wait_for(VMsRefused)
        error: HpcError = refused.error
        assert (error, refused.names) == (quota, ("b-0", "b-1", "b-2"))
        assert "failed_operations" in compute.asked


def test_vms_that_come_later_have_a_later_end_and_a_key_that_lasts(tmp_path: Path) -> None:
    compute = SmallCompute(there={"b-0": replace(instance("b-0"), labels={"expires": "20200101-0000"})})

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished}

    stack = SmallStack(on_up=on_up)
    with _fleet(tmp_path, compute, on_up, stack=stack) as (fleet, inbox):
        fleet.adopt(list(compute.there.values()))
        fleet.request(WISHES[1:2])
        inbox.wait_for(VMsCreated)
        assert stack.logins == 1
        fleet.request(WISHES[2:])
        inbox.wait_for(VMsCreated, 2)
    assert stack.logins == 2
    ends = [{wish.name: wish.expires for wish in wishes} for wishes in stack.wishes]
    assert ends[0]["b-0"] == ends[1]["b-0"] == "20200101-0000", "the label of a VM that is there is let be"
    assert ends[0]["b-1"] == ends[1]["b-1"]
    end = read_expires(ends[1]["b-2"])
    assert end is not None
    assert end > datetime.now(UTC) + timedelta(minutes=50)


LOST = "Error waiting for instance to reach desired status RUNNING: couldn't find resource (21 retries)"
NOT_FOUND = (
    "Error deleting instance: googleapi: Error 404: The resource 'projects/p/zones/europe-west4-a/instances/{}' was not "
    "found, notFound"
)


def _warnings(reported: Sequence[Event]) -> list[str]:
    return [event.as_json()["message"] for event in reported if event.kind == "warning"]


def test_a_vm_that_vanished_while_it_was_created_is_lost(tmp_path: Path) -> None:
    compute, reported = SmallCompute(), list[Event]()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-1"}
        raise StackError(f"up failed: {LOST}", diagnostics=[LOST], lost_vms=["b-1"])

    with _fleet(tmp_path, compute, on_up, reported=reported) as (fleet, inbox):
        fleet.request(WISHES[:2])
        inbox.wait_for(VMsCreated)
        (down,) = inbox.of(VMDown)
        assert (down.name, down.witness) == ("b-1", "cloud")
        assert inbox.of(VMsRefused) == []
    assert _warnings(reported) == []


def test_a_vanished_vm_and_a_refused_one_are_reported_apart(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name == "b-0"}
        quota = QuotaError("Quota 'CPUS' exceeded.  Limit: 8.0 in region europe-west4")
        quota.__cause__ = StackError("up failed", diagnostics=[LOST, str(quota)], lost_vms=["b-1"])
        raise quota

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES)
        (refused,) = inbox.wait_for(VMsRefused)
        assert refused.names == ("b-2",)
        assert [down.name for down in inbox.of(VMDown)] == ["b-1"]


def test_jobs_can_start_on_vms_that_run_while_others_are_still_being_created(tmp_path: Path) -> None:
    compute, is_heard = SmallCompute(), threading.Event()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {"b-0": instance("b-0"), "b-1": instance("b-1", "STAGING")}
        assert is_heard.wait(LIMIT_S)
        compute.there["b-1"] = instance("b-1")

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES[:2])
        assert _names(inbox.wait_for(VMReady)) == ["b-0"]
        assert inbox.of(VMsCreated) == []
        is_heard.set()
        inbox.wait_for(VMsCreated)
        assert _names(inbox.wait_for(VMReady, 2)) == ["b-0", "b-1"]


@pytest.mark.parametrize(("gone", "is_alarm"), [("b-9", False), ("b-0", True)])
def test_no_warning_when_the_engine_does_not_find_a_vm_that_is_gone(tmp_path: Path, gone: str, is_alarm: bool) -> None:
    compute, reported = SmallCompute(), list[Event]()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished}
        raise StackError("up failed", diagnostics=[NOT_FOUND.format(gone)])

    with _fleet(tmp_path, compute, on_up, reported=reported) as (fleet, inbox):
        fleet.request(WISHES)
        inbox.wait_for(VMsCreated)
    assert bool(_warnings(reported)) is is_alarm


def test_an_update_that_failed_on_a_vm_that_is_gone_is_repeated(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        if update == 1:
            raise StackError("up failed", diagnostics=[NOT_FOUND.format("b-9")])
        compute.there |= {name: instance(name) for name in wished}

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES[:1])
        assert _names(inbox.wait_for(VMReady)) == ["b-0"]
        assert inbox.of(VMsRefused) == []


def test_a_vm_that_answers_after_the_fleet_is_closed_leaves_no_connection_open(tmp_path: Path) -> None:
    compute = SmallCompute()
    is_asked, may_answer, is_closed = threading.Event(), threading.Event(), threading.Event()

    def connect(*arguments: Any, limit_s: float) -> SimpleNamespace:
        is_asked.set()
        assert may_answer.wait(LIMIT_S)
        return SimpleNamespace(close=is_closed.set)

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished}

    with _fleet(tmp_path, compute, on_up, job_interface=connect) as (fleet, inbox):
        fleet.request(WISHES[:1])
        assert is_asked.wait(LIMIT_S)
        closing = threading.Thread(target=fleet.close)
        closing.start()
        while fleet.is_open:
            pass
        assert closing.is_alive(), "it waits for what boots"
        may_answer.set()
        closing.join(LIMIT_S)
        assert is_closed.is_set()
        assert inbox.of(VMReady) == []


def test_a_cloud_that_does_not_answer_the_engine_for_a_while_is_asked_again(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        if update == 1:
            compute.troubles["instances"] = [UnreachableError("no answer")] * 2
            raise UnreachableError("up of analysis/b failed: error reading from server: EOF")
        compute.there |= {name: instance(name) for name in wished}

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES[:1])
        (created,) = inbox.wait_for(VMsCreated)
    assert [vm.name for vm in created.instances] == ["b-0"]


def test_a_vm_that_has_answered_before_gets_no_time_to_boot(tmp_path: Path) -> None:
    compute = SmallCompute(there={name: instance(name) for name in ("b-0", "b-1")})
    limits: dict[str, float] = {}

    def connect(vm: Instance, *arguments: Any, limit_s: float) -> SimpleNamespace:
        limits[vm.name] = limit_s
        return SimpleNamespace(close=lambda: None)

    with _fleet(tmp_path, compute, lambda update, wished: None, job_interface=connect) as (fleet, inbox):
        fleet.adopt(list(compute.there.values()), answered={"b-1"})
        inbox.wait_for(VMReady, 2)
        assert limits == {"b-0": SSH_LIMIT_S, "b-1": Settings().lost_after_s}


def _close_during_update(fleet: Fleet, may_fail: threading.Event) -> None:
    """Close the fleet while an update waits for ``may_fail``, which is set once the fleet is being closed."""
    closing = threading.Thread(target=fleet.close)
    closing.start()
    while fleet.is_open:
        pass
    may_fail.set()
    closing.join(LIMIT_S)


def test_an_interrupted_update_may_still_create_what_was_not_seen(tmp_path: Path) -> None:
    compute, may_fail = SmallCompute(), threading.Event()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there["b-0"] = instance("b-0")
        assert may_fail.wait(LIMIT_S)
        raise StackError("up failed", diagnostics=["context canceled"])

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES[:2])
        inbox.wait_for(VMReady)
        _close_during_update(fleet, may_fail)
        assert [(vm.name, vm.zone) for vm in fleet.cut_off] == [("b-1", WISHES[1].zone)]


def test_an_update_that_ended_by_itself_creates_nothing_more(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        raise StackError("up failed", diagnostics=["no permission"])

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.request(WISHES[:1])
        inbox.wait_for(VMsRefused)
        assert fleet.cut_off == ()


def test_no_warning_for_an_engine_that_was_cancelled_at_the_end(tmp_path: Path) -> None:
    compute, reported, may_fail = SmallCompute(), list[Event](), threading.Event()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished}
        assert may_fail.wait(LIMIT_S)
        raise StackError("up failed", diagnostics=["context canceled"])

    with _fleet(tmp_path, compute, on_up, reported=reported) as (fleet, inbox):
        fleet.request(WISHES[:1])
        inbox.wait_for(VMReady)
        _close_during_update(fleet, may_fail)
    assert _warnings(reported) == []


def test_a_vm_that_comes_up_after_it_was_given_up_is_deleted(tmp_path: Path) -> None:
    compute, reported = SmallCompute(), list[Event]()
    compute.troubles["delete_instance"] = [UnreachableError("no answer")]

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-1"}
        raise StackError("up failed", diagnostics=["the engine was killed"])

    with _fleet(tmp_path, compute, on_up, reported=reported) as (fleet, inbox):
        fleet.request(WISHES[:3])
        (refused,) = inbox.wait_for(VMsRefused)
        fleet.abandon(*refused.names)
        fleet.forget("b-2")
        compute.there["b-1"] = instance("b-1")
        give_up_at = time.monotonic() + LIMIT_S
        while "b-1" in compute.there:
            assert time.monotonic() < give_up_at, _warnings(reported)
            time.sleep(0.01)
        assert sorted(compute.there) == ["b-0", "b-2"], "its rescue deletes a lost VM"
    (warning,) = [message for message in _warnings(reported) if "b-1" in message]
    assert "came up late" in warning


def test_no_update_begins_while_results_may_come_from_a_lost_vm(tmp_path: Path) -> None:
    """It would delete the VM that they come from."""
    compute, begun = SmallCompute(), list[float]()

    def on_up(update: int, wished: list[str]) -> None:
        begun.append(clock())
        compute.there |= {name: instance(name) for name in wished}

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        clock = fleet._context.monotonic
        fleet.forget("b-8", owes=True)
        fleet.request(WISHES[:1])
        inbox.wait_for(VMsCreated)
        assert begun[0] >= PUSH_LIMIT_S, "it is waited for, though not for ever"
        fleet.forget("b-9", owes=True)
        fleet.note_ended("b-9")
        fleet.request(WISHES[1:2])
        inbox.wait_for(VMsCreated, 2)
        assert begun[1] < begun[0] + PUSH_LIMIT_S


def test_last_pushes_are_awaited_only_while_the_fleet_is_open(tmp_path: Path) -> None:
    context = small_context(tmp_path, SmallCompute())
    pushes, are_open = LastPushes(context), iter([True, True, False])
    pushes.expect("b-8")
    pushes.wait(lambda: next(are_open))
    assert context.monotonic() < PUSH_LIMIT_S
