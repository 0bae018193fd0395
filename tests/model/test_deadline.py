"""Deadlines that move, on a clock of the test's own."""

from __future__ import annotations

import threading

import pytest

from runner.errors import InputError
from runner.model.deadline import Deadline


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_comes_nearer_and_passes(clock: Clock) -> None:
    deadline = Deadline(60, monotonic=clock)
    clock.now += 59
    assert (deadline.remaining_s, deadline.expired) == (1.0, False)
    clock.now += 2
    assert (deadline.remaining_s, deadline.expired) == (0.0, True)


def test_it_is_extended_also_after_it_has_passed(clock: Clock) -> None:
    deadline = Deadline(60, monotonic=clock)
    clock.now += 70
    assert deadline.extend(1) == 50.0
    assert not deadline.expired
    assert deadline.extend(-2) == 0.0
    assert deadline.expired


def test_moving_it_says_whether_it_was_elsewhere(clock: Clock) -> None:
    deadline = Deadline(60, monotonic=clock)
    assert not deadline.move_to(60)
    assert deadline.move_to(90)
    assert (deadline.limit_s, deadline.remaining_s) == (90, 90)


def test_the_longest_deadline_holds_and_is_shown(clock: Clock) -> None:
    deadline = Deadline(3600, longest_s=4 * 3600, monotonic=clock)
    assert deadline.extend(180) == 4 * 3600
    with pytest.raises(InputError, match=r"30 minutes beyond the end of the VMs \(240 minutes, their maxRunDuration\)"):
        deadline.extend(30)
    assert deadline.limit_s == 4 * 3600
    with pytest.raises(InputError):
        Deadline(10, longest_s=5, monotonic=clock)


def test_extensions_of_several_threads_add_up(clock: Clock) -> None:
    deadline = Deadline(0, monotonic=clock)
    threads = [threading.Thread(target=lambda: [deadline.extend(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert deadline.remaining_s == 60 * 2000
