"""A near deadline is reported once, and again after it was moved."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from runner.batch.deadlines import JobDeadlines
from runner.model.events import Event, Listener

HOUR_S = 3600.0


@dataclass(kw_only=True)
class Bench:
    """Deadlines on a clock of the test's own."""

    now: float = 0.0

    def __post_init__(self) -> None:
        self.reported: list[Event] = []
        self.deadlines = JobDeadlines("b", Listener(on_progress=self.reported.append), monotonic=lambda: self.now)

    def look_at(self, now: float) -> int:
        """Return how many warnings were reported by then."""
        self.now = now
        self.deadlines.look()
        return len(self.reported)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_is_reported_once_with_the_command_that_extends_it(bench: Bench) -> None:
    bench.deadlines.begin("a", 1, HOUR_S)
    assert [bench.look_at(HOUR_S - left_s) for left_s in (301, 299, 100, 0)] == [0, 1, 1, 1]
    assert "`invoke extend --batch b --job a --minutes 30`" in str(bench.reported[0].as_json()["message"])


def test_a_short_job_is_not_reported_from_its_start(bench: Bench) -> None:
    bench.deadlines.begin("a", 1, 60.0)
    assert [bench.look_at(now) for now in (0, 50, 55)] == [0, 0, 1]


def test_a_moved_deadline_is_reported_again(bench: Bench) -> None:
    bench.deadlines.begin("a", 1, HOUR_S)
    assert bench.look_at(HOUR_S - 100) == 1
    bench.deadlines.move("a", 2 * HOUR_S)
    bench.deadlines.move("b", 2 * HOUR_S)
    assert [bench.look_at(HOUR_S + 100), bench.look_at(2 * HOUR_S - 100)] == [1, 2]


def test_an_attempt_that_has_ended_is_not_reported(bench: Bench) -> None:
    bench.deadlines.begin("a", 1, HOUR_S)
    bench.deadlines.end("a", 1)
    bench.deadlines.begin("a", 2, HOUR_S)
    bench.deadlines.end("a", 1)
    assert bench.look_at(HOUR_S - 100) == 1
    bench.deadlines.end("a", 2)
    bench.deadlines.move("a", 2 * HOUR_S)
    assert bench.look_at(2 * HOUR_S - 100) == 1
