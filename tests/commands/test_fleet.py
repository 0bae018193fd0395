"""The fleet tells of each VM that was asked for what became of it, and of no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.commands.events import Event, Listener, Phases
from runner.commands.fleet import Fleet, MachineWish, SpecOf
from runner.commands.messages import MachineDown, MachineReady, MachinesMade, MachinesRefused, ThreadFailed
from runner.core.os_login import Login
from runner.core.stacks import StackSpec
from runner.errors import CloudError, HpcError, QuotaError, StackError, StockoutError, UnreachableError
from runner.model.leftover import read_expires
from tests.commands.small_cloud import LOGIN, Inbox, SmallCompute, SmallStacks, instance, small_context

WISHES = [
    MachineWish(name=f"b-{index}", zone="europe-west4-a", machine_type="c2-standard-4", provisioning="spot")
    for index in range(3)
]


def _spec(wishes: Sequence[MachineWish]) -> StackSpec:
    return StackSpec(project="analysis", name="b", config={"machines": " ".join(wish.name for wish in wishes)})


@contextmanager
def _fleet(
    folder: Path,
    compute: SmallCompute,
    on_up: Callable[[int, list[str]], None],
    *,
    spec: SpecOf = _spec,
    new_login: Callable[[], Login] = lambda: LOGIN,
) -> Iterator[tuple[Fleet, Inbox]]:
    context = small_context(folder, compute, SmallStacks(on_up=on_up))
    inbox = Inbox()
    told: list[Event] = []
    listener = Listener(on_progress=told.append)
    with context.journal.begin("b", "run") as session:
        fleet = Fleet(
            context=context,
            batch="b",
            new_login=new_login,
            max_run_s=3600,
            spec_of=spec,
            session=session,
            tell=inbox.tell,
            listener=listener,
            phases=Phases(listener),
            check=lambda: None,
        )
        try:
            yield fleet, inbox
        finally:
            fleet.close()
    assert inbox.of(ThreadFailed) == []


def _names(messages: Sequence[MachineReady]) -> list[str]:
    return sorted(message.instance.name for message in messages)


def test_only_vms_that_are_not_there_are_refused(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-2"}
        raise StockoutError("europe-west4-a does not have enough resources available")

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.ask_for(WISHES)
        (refused,) = inbox.wait_for(MachinesRefused)
        assert refused.names == ("b-2",)
        assert isinstance(refused.error, StockoutError)
        assert _names(inbox.wait_for(MachineReady, 2)) == ["b-0", "b-1"]


def test_a_silent_cloud_after_a_failure_refuses_nothing_that_was_made(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-2"}
        if update == 2:
            compute.troubles["instances"] = [UnreachableError("no answer")] * 50
        raise StockoutError(f"{update} does not have enough resources available")

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.ask_for(WISHES)
        (refused,) = inbox.wait_for(MachinesRefused)
        assert refused.names == ("b-2",)
        assert str(refused.error) == "2 does not have enough resources available"
        assert refused.error.__cause__ is None


def test_vms_of_a_good_update_wait_for_a_cloud_that_is_silent_for_a_while(tmp_path: Path) -> None:
    compute = SmallCompute(troubles={"instances": [CloudError("busy", status=503)] * 3})

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished}

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.ask_for(WISHES)
        inbox.wait_for(MachinesMade)
        assert inbox.of(MachinesRefused) == []
        assert len(inbox.wait_for(MachineReady, 3)) == 3


def test_a_vm_that_was_made_and_went_before_it_was_seen_is_down(tmp_path: Path) -> None:
    compute = SmallCompute()

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished if name != "b-1"}

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.ask_for(WISHES)
        inbox.wait_for(MachinesMade)
        (down,) = inbox.of(MachineDown)
        assert (down.name, down.witness) == ("b-1", "cloud")


def test_a_refusal_keeps_its_words_when_its_details_cannot_be_read(tmp_path: Path) -> None:
    compute = SmallCompute(troubles={"failed_operations": [UnreachableError("no answer")]})
    quota = QuotaError("Quota 'CPUS' exceeded.  Limit: 8.0 in region europe-west4")
    quota.__cause__ = StackError("the engine failed", diagnostics=["its words"])

    def on_up(update: int, wished: list[str]) -> None:
        raise quota

    with _fleet(tmp_path, compute, on_up) as (fleet, inbox):
        fleet.ask_for(WISHES)
        (refused,) = inbox.wait_for(MachinesRefused)
        error: HpcError = refused.error
        assert (error, refused.names) == (quota, ("b-0", "b-1", "b-2"))
        assert "failed_operations" in compute.asked


def test_vms_that_come_later_have_a_later_end_and_a_key_that_lasts(tmp_path: Path) -> None:
    compute = SmallCompute(there={"b-0": replace(instance("b-0"), labels={"expires": "20200101-0000"})})
    ends: list[dict[str, str]] = []
    logins: list[Login] = []

    def spec(wishes: Sequence[MachineWish]) -> StackSpec:
        ends.append({wish.name: wish.expires for wish in wishes})
        return _spec(wishes)

    def new_login() -> Login:
        logins.append(LOGIN)
        return LOGIN

    def on_up(update: int, wished: list[str]) -> None:
        compute.there |= {name: instance(name) for name in wished}

    with _fleet(tmp_path, compute, on_up, spec=spec, new_login=new_login) as (fleet, inbox):
        fleet.adopt(list(compute.there.values()))
        fleet.ask_for(WISHES[1:2])
        inbox.wait_for(MachinesMade)
        assert len(logins) == 1
        fleet.ask_for(WISHES[2:])
        inbox.wait_for(MachinesMade, 2)
    assert len(logins) == 2
    assert ends[0]["b-0"] == ends[1]["b-0"] == "20200101-0000", "the label of a VM that is there is let be"
    assert ends[0]["b-1"] == ends[1]["b-1"]
    end = read_expires(ends[1]["b-2"])
    assert end is not None
    assert end > datetime.now(UTC) + timedelta(minutes=50)
