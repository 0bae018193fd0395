"""The lease of a batch, in a real bucket: taken, renewed, changed by others, lost, given back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.errors import CloudError, ConflictError, UnreachableError
from runner.lease.keeper import (
    ControlStore,
    LeaseEvents,
    LeaseKeeper,
    LeaseState,
    LeaseTerms,
    WatchedError,
    change_lease,
    read_lease,
    read_preempted,
)
from runner.model import names
from runner.model.lease import Lease, new_lease
from runner.results.store import ControlObject
from tests.support.bucket import Batch

LIMIT_S = 60.0
US, THEM = "you@here 1", "somebody@there 2"


@dataclass(kw_only=True)
class Clock:
    """Both clocks of a keeper."""

    passed_s: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 10, 0, tzinfo=UTC) + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return self.passed_s


@dataclass(kw_only=True)
class Reports:
    """What a keeper reported."""

    changes: list[Lease] = field(default_factory=list)
    losses: list[Lease] = field(default_factory=list)
    times_gone: int = 0

    @property
    def events(self) -> LeaseEvents:
        return LeaseEvents(on_change=self.changes.append, on_lost=self.losses.append, on_gone=self._note_gone)

    def _note_gone(self) -> None:
        self.times_gone += 1


@dataclass(kw_only=True)
class FaultyStore:
    """A store that fails as often as a test wants, before or after the write."""

    store: ControlStore
    failures_before: int = 0
    failures_after: int = 0

    def get_control(self, batch: str, name: str) -> ControlObject | None:
        return self.store.get_control(batch, name)

    def list_control(self, batch: str) -> list[str]:
        return self.store.list_control(batch)

    def put_control(self, batch: str, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        if self.failures_before:
            self.failures_before -= 1
            raise UnreachableError("no answer")
        generation = self.store.put_control(batch, name, content, if_generation=if_generation)
        if self.failures_after:
            self.failures_after -= 1
            raise UnreachableError("the answer was lost")
        return generation


@dataclass(kw_only=True)
class BusyStore(FaultyStore):
    """A store into which another client writes just before the first write."""

    others: list[Lease]

    def put_control(self, batch: str, name: str, content: bytes, *, if_generation: int | None = None) -> int:
        if self.others:
            self.store.put_control(batch, name, self.others.pop().as_json())
        return super().put_control(batch, name, content, if_generation=if_generation)


Make = Callable[..., LeaseKeeper]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def make_keeper(batch: Batch, clock: Clock, reports: Reports) -> Make:
    def make(holder: str = US, store: ControlStore | None = None, **terms: Any) -> LeaseKeeper:
        wanted = LeaseTerms(batch=batch.name, lease_s=600, holder=holder, **terms)
        return LeaseKeeper(store or batch.store, wanted, reports.events, now=clock.now, monotonic=clock.monotonic)

    return make


def stored(batch: Batch) -> Lease:
    found = read_lease(batch.store, batch.name)
    assert found is not None
    return found.lease


def test_it_is_renewed_when_a_third_has_passed(batch: Batch, clock: Clock, make_keeper: Make) -> None:
    assert read_lease(batch.store, batch.name) is None
    with make_keeper(deadlines={"a": 60.0}) as keeper:
        first = stored(batch)
        assert (first.holder, dict(first.deadlines)) == (US, {"a": 60.0})
        clock.passed_s = 199
        keeper.look()
        assert stored(batch).renewed == first.renewed
        assert keeper.age_s == 199
        clock.passed_s = 201
        keeper.look()
        assert stored(batch).expires == first.expires + 201
        assert keeper.age_s == 0


def test_its_thread_renews_it(batch: Batch) -> None:
    with LeaseKeeper(batch.store, LeaseTerms(batch=batch.name, lease_s=1, holder=US)):
        first = stored(batch)
        give_up = time.monotonic() + LIMIT_S
        while stored(batch).expires <= first.expires:
            assert time.monotonic() < give_up
            time.sleep(0.05)


def test_one_batch_has_one_watcher(batch: Batch, clock: Clock, reports: Reports, make_keeper: Make) -> None:
    with make_keeper() as keeper:
        with pytest.raises(ConflictError, match=f"watched by {US}"), make_keeper(THEM):
            pass
        with make_keeper(THEM, take_over=True):
            keeper.look()
            assert keeper.state is LeaseState.TAKEN
            assert [lease.holder for lease in reports.losses] == [THEM]
            with pytest.raises(ConflictError, match="lost"):
                keeper.detach()
            assert stored(batch).holder == THEM


def test_a_holder_that_is_known_to_be_gone_needs_no_take_over(batch: Batch, make_keeper: Make) -> None:
    with make_keeper():
        pass
    with pytest.raises(ConflictError), make_keeper(THEM, predecessors=["nobody@here 3"]):
        pass
    with make_keeper(THEM, predecessors=[US]) as keeper:
        assert not keeper.was_detached
        assert stored(batch).holder == THEM


@pytest.mark.parametrize("has_lease", [False, True])
def test_of_two_clients_that_take_it_at_once_one_is_refused(
    batch: Batch, clock: Clock, make_keeper: Make, has_lease: bool
) -> None:
    if has_lease:
        with make_keeper() as left:
            left.detach()
    theirs = new_lease(batch.name, THEM, clock.now(), 600)
    with pytest.raises(WatchedError, match=THEM) as caught:
        make_keeper(store=BusyStore(store=batch.store, others=[theirs])).__enter__()
    assert caught.value.holder == THEM
    assert stored(batch).holder == THEM


def test_a_lease_that_is_extended_while_it_is_taken_keeps_its_deadlines(
    batch: Batch, clock: Clock, make_keeper: Make
) -> None:
    moved = replace(new_lease(batch.name, THEM, clock.now(), 600), detached=True, deadlines={"a": 90.0})
    with make_keeper(store=BusyStore(store=batch.store, others=[moved]), deadlines={"a": 60.0}) as keeper:
        assert (keeper.lease.holder, dict(keeper.lease.deadlines), keeper.was_detached) == (US, {"a": 90.0}, True)


def test_a_reused_process_number_is_another_client(batch: Batch, reports: Reports, make_keeper: Make) -> None:
    with make_keeper(holder_id="first") as keeper:
        for terms in ({"holder_id": "second"}, {"holder_id": "second", "predecessors": [US]}, {}):
            with pytest.raises(WatchedError):
                make_keeper(**terms).__enter__()
        with make_keeper(holder_id="second", take_over=True):
            keeper.look()
            assert keeper.state is LeaseState.TAKEN
    with make_keeper(holder_id="third", predecessors=["second"]):
        assert stored(batch).holder_id == "third"


def test_a_check_notices_another_holder(batch: Batch, make_keeper: Make) -> None:
    with make_keeper() as keeper:
        keeper.check()
        with make_keeper(THEM, take_over=True):
            with pytest.raises(WatchedError, match=THEM) as caught:
                keeper.check()
            assert (caught.value.holder, keeper.lost_to) == (THEM, THEM)


def test_an_expired_lease_that_cannot_be_read_may_be_another_clients(
    batch: Batch, clock: Clock, make_keeper: Make
) -> None:
    store = FaultyStore(store=batch.store)
    with make_keeper(store=store) as keeper:
        store.failures_before = 2
        clock.passed_s = 599
        keeper.check()
        clock.passed_s = 601
        with pytest.raises(UnreachableError, match="no answer"):
            keeper.check()
        keeper.check()


def test_an_expired_lease_is_free(batch: Batch, clock: Clock, make_keeper: Make) -> None:
    with make_keeper(deadlines={"a": 60.0}):
        pass
    clock.passed_s = 601
    with make_keeper(THEM, deadlines={"a": 1.0, "b": 2.0}):
        assert dict(stored(batch).deadlines) == {"a": 60.0, "b": 2.0}


def test_deadlines_that_were_moved_before_are_reported(batch: Batch, reports: Reports, make_keeper: Make) -> None:
    with make_keeper(deadlines={"a": 60.0}) as keeper:
        keeper.detach()
    assert reports.changes == []
    change_lease(batch.store, batch.name, lambda lease: lease.restate(deadlines={"a": 90.0}))
    with make_keeper(deadlines={"a": 60.0, "b": 5.0}):
        assert [dict(lease.deadlines) for lease in reports.changes] == [{"a": 90.0, "b": 5.0}]


def test_a_detached_lease_is_free(batch: Batch, make_keeper: Make) -> None:
    with make_keeper() as keeper:
        keeper.detach()
    assert stored(batch).detached
    with make_keeper(THEM) as keeper:
        assert keeper.was_detached
        assert not stored(batch).detached


def test_deadlines_that_others_move_are_reported_and_kept(
    batch: Batch, clock: Clock, reports: Reports, make_keeper: Make
) -> None:
    with make_keeper(deadlines={"a": 60.0, "b": 60.0}) as keeper:
        change_lease(batch.store, batch.name, lambda lease: lease.restate(deadlines={"a": 90.0, "b": 60.0}))
        keeper.look()
        assert [dict(lease.deadlines) for lease in reports.changes] == [{"a": 90.0, "b": 60.0}]
        change_lease(batch.store, batch.name, lambda lease: lease.restate(deadlines={"a": 99.0}))
        clock.passed_s = 300
        keeper.look()
        assert dict(stored(batch).deadlines) == {"a": 99.0}, "a renewal is written over what others changed"
        assert keeper.state is LeaseState.OURS


def test_a_lost_answer_does_not_lose_the_lease(batch: Batch, clock: Clock, reports: Reports, make_keeper: Make) -> None:
    store = FaultyStore(store=batch.store)
    with make_keeper(store=store) as keeper:
        store.failures_after = 1
        clock.passed_s = 300
        keeper.look()
        assert "lost" in keeper.trouble
        keeper.look()
        assert (keeper.trouble, keeper.state, keeper.age_s) == ("", LeaseState.OURS, 0)
        assert reports.losses == []


def test_an_outage_is_sat_out_and_the_age_of_the_lease_is_known(clock: Clock, make_keeper: Make, batch: Batch) -> None:
    store = FaultyStore(store=batch.store)
    with make_keeper(store=store) as keeper:
        store.failures_before = 2
        for passed_s in (300, 500):
            clock.passed_s = passed_s
            keeper.look()
            assert (keeper.trouble, keeper.age_s) == ("no answer", passed_s)
        keeper.look()
        assert (keeper.trouble, keeper.age_s) == ("", 0)


def test_a_removed_lease_is_not_written_again(batch: Batch, clock: Clock, reports: Reports, make_keeper: Make) -> None:
    with make_keeper() as keeper:
        batch.store.delete_control(batch.name)
        clock.passed_s = 300
        keeper.look()
        assert keeper.state is LeaseState.REMOVED
        assert (reports.losses, reports.times_gone) == ([], 1), "nobody took the batch over"
    assert read_lease(batch.store, batch.name) is None


def test_a_client_that_takes_the_batch_after_its_lease_was_removed_is_noticed(
    batch: Batch, clock: Clock, make_keeper: Make
) -> None:
    with make_keeper() as keeper:
        batch.store.delete_control(batch.name)
        keeper.look()
        assert keeper.state is LeaseState.REMOVED
        with make_keeper(THEM):
            clock.passed_s = 300
            with pytest.raises(WatchedError, match=THEM):
                keeper.check()


def test_a_client_that_is_interrupted_while_it_takes_a_detached_lease_leaves_it_detached(
    batch: Batch, clock: Clock, make_keeper: Make
) -> None:
    def interrupt(lease: Lease) -> None:
        raise KeyboardInterrupt

    with make_keeper(deadlines={"a": 60.0}) as keeper:
        keeper.detach()
    change_lease(batch.store, batch.name, lambda lease: lease.restate(deadlines={"a": 90.0}))
    terms = LeaseTerms(batch=batch.name, lease_s=600, holder=THEM, deadlines={"a": 60.0})
    with pytest.raises(KeyboardInterrupt):
        LeaseKeeper(batch.store, terms, LeaseEvents(on_change=interrupt), now=clock.now).__enter__()
    assert stored(batch).detached


def test_a_corrupt_lease_is_an_error(batch: Batch) -> None:
    batch.store.put_control(batch.name, names.LEASE, b"{")
    with pytest.raises(CloudError, match=r"lease\.json"):
        read_lease(batch.store, batch.name)
    batch.store.delete_control(batch.name)
    with pytest.raises(ConflictError, match="no lease"):
        change_lease(batch.store, batch.name, lambda lease: lease)


def test_markers_of_preempted_vms_are_read(batch: Batch) -> None:
    assert read_preempted(batch.store, batch.name) == set()
    marker = f"{names.preemption_prefix(batch.name)}b-1".removeprefix(names.control_prefix(batch.name))
    batch.store.put_control(batch.name, marker, b"{}")
    batch.store.put_control(batch.name, "batch.json", b"{}")
    assert read_preempted(batch.store, batch.name) == {"b-1"}
