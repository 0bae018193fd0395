"""Growing delays, and the budget that ends them."""

from __future__ import annotations

import itertools
import math

from runner.system.backoff import Backoff, growing_delays


class World:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return sum(self.slept)

    def backoff(self, budget_s: float = math.inf) -> Backoff:
        return Backoff(first_s=1.0, longest_s=8.0, budget_s=budget_s, sleep=self.slept.append, monotonic=self.monotonic)


def test_delays_grow_up_to_the_longest() -> None:
    assert list(itertools.islice(growing_delays(1.0, 8.0), 6)) == [1, 2, 4, 8, 8, 8]
    assert list(itertools.islice(growing_delays(1.0, 3.0, factor=1.5), 5)) == [1, 1.5, 2.25, 3, 3]


def test_a_pause_is_between_half_of_its_delay_and_all() -> None:
    world = World()
    backoff = world.backoff()
    assert all(backoff.pause() for _ in range(5))
    for slept, delay_s in zip(world.slept, growing_delays(1.0, 8.0), strict=False):
        assert delay_s / 2 <= slept <= delay_s


def test_no_pause_begins_that_the_budget_does_not_cover() -> None:
    world = World()
    backoff = world.backoff(budget_s=20.0)
    while backoff.pause():
        pass
    assert 3 <= len(world.slept) <= 7
    assert world.monotonic() <= 20.0


def test_progress_renews_it() -> None:
    world = World()
    backoff = world.backoff(budget_s=20.0)
    while backoff.pause():
        pass
    backoff.renew()
    assert backoff.next_delay_s() <= 1.0


def test_a_requested_delay_is_the_least() -> None:
    backoff = World().backoff(budget_s=20.0)
    assert backoff.next_delay_s(least_s=15.0) == 15.0
    assert backoff.next_delay_s(least_s=25.0) == math.inf
