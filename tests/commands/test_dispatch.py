"""First come, first served, never more cores than there are, and work that no VM can take is given up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.commands.dispatch import Dispatcher, Slot


@dataclass(frozen=True)
class Piece:
    name: str
    cores_needed: int


def _give_up(piece: Piece, reason: str) -> str:
    return f"{piece.name} given up: {reason}"


@given(widths=st.lists(st.integers(1, 4), max_size=12), vms=st.integers(1, 3))
def test_cores_are_never_oversubscribed(widths: list[int], vms: int) -> None:
    lock, seen = threading.Lock(), []

    def act(piece: Piece, slot: Slot, release: Callable[[], None]) -> str:
        with lock:
            seen.append(slot.free)
        release()
        release()  # a second call must not free the cores twice
        return piece.name

    work = [Piece(f"j{i}", width) for i, width in enumerate(widths)]
    slots = [Slot(name=f"b-{i}", cores=4) for i in range(vms)]
    dispatcher = Dispatcher(work, slots_to_come=vms, act=act, give_up=_give_up)
    for slot in slots:
        dispatcher.open(slot)
    assert sorted(dispatcher.run()) == sorted(piece.name for piece in work)
    assert all(free >= 0 for free in seen)
    assert all(slot.free == 4 for slot in slots)


def test_the_next_job_starts_while_the_last_one_is_pushed() -> None:
    second_started = threading.Event()

    def act(piece: Piece, slot: Slot, release: Callable[[], None]) -> str:
        if piece.name == "first":
            release()
            assert second_started.wait(60)
        else:
            second_started.set()
        return piece.name

    dispatcher = Dispatcher([Piece("first", 2), Piece("second", 2)], slots_to_come=1, act=act, give_up=_give_up)
    dispatcher.open(Slot(name="b-0", cores=2))
    assert dispatcher.run() == ["second", "first"]


def test_work_is_given_up_when_no_vm_comes() -> None:
    dispatcher = Dispatcher(
        [Piece("a", 1), Piece("b", 1)], slots_to_come=2, act=lambda p, s, r: p.name, give_up=_give_up
    )
    dispatcher.fail("zone is full")
    dispatcher.fail("quota")
    assert dispatcher.run() == ["a given up: quota", "b given up: quota"]


def test_a_lost_vm_takes_no_more_work() -> None:
    dispatcher: Dispatcher[Piece, str]

    def act(piece: Piece, slot: Slot, release: Callable[[], None]) -> str:
        dispatcher.close(slot, "lost")
        return piece.name

    dispatcher = Dispatcher([Piece("a", 2), Piece("b", 2)], slots_to_come=1, act=act, give_up=_give_up)
    dispatcher.open(Slot(name="b-0", cores=2))
    assert sorted(dispatcher.run()) == ["a", "b given up: lost"]


def test_an_error_of_the_act_is_not_swallowed() -> None:
    def act(piece: Piece, slot: Slot, release: Callable[[], None]) -> str:
        raise RuntimeError("act is broken")

    dispatcher = Dispatcher([Piece("a", 1)], slots_to_come=1, act=act, give_up=_give_up)
    dispatcher.open(Slot(name="b-0", cores=1))
    with pytest.raises(RuntimeError, match="act is broken"):
        dispatcher.run()
