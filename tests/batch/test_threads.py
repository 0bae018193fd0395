"""Threads of one owner, and downloads beside a batch: begun after their end is registered, waited for, no error of theirs lost."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from runner.batch.downloads import Downloads
from runner.batch.threads import Threads
from runner.errors import HpcError
from runner.results.collector import Collector

LIMIT_S = 30.0


class SmallCollector:
    """Runs until it is stopped."""

    def __init__(self) -> None:
        self.is_running = threading.Event()
        self.has_ended = threading.Event()

    def run(self, stop: threading.Event) -> None:
        self.is_running.set()
        assert stop.wait(LIMIT_S)
        self.has_ended.set()


def test_downloads_can_be_stopped_before_they_begin_and_are_waited_for() -> None:
    collector = SmallCollector()
    Downloads(cast(Collector, collector)).stop()
    assert not collector.is_running.is_set()
    downloads = Downloads(cast(Collector, collector))
    downloads.start()
    assert collector.is_running.wait(LIMIT_S)
    downloads.stop()
    assert collector.has_ended.is_set()
    downloads.stop()


@pytest.mark.parametrize("tells_errors", [True, False])
def test_the_error_that_ends_a_thread_is_reported(tells_errors: bool) -> None:
    defects: list[BaseException] = []
    errors: list[tuple[str, HpcError]] = []
    threads = Threads(defects.append, (lambda name, error: errors.append((name, error))) if tells_errors else None)
    refusal, defect = HpcError("no"), ValueError("a defect")

    def end_with(error: BaseException) -> Any:
        raise error

    threads.start(lambda: end_with(refusal), name="one")
    threads.start(lambda: end_with(defect), name="two")
    assert threads.join(LIMIT_S)
    assert errors == ([("one", refusal)] if tells_errors else [])
    assert defects.count(defect) == 1
    assert len(defects) == (1 if tells_errors else 2)


def test_a_thread_that_does_not_end_is_waited_for_within_the_limit() -> None:
    threads, may_end = Threads(lambda error: None), threading.Event()
    threads.start(lambda: may_end.wait(LIMIT_S), name="slow")
    assert not threads.join(0.05)
    may_end.set()
    assert threads.join(LIMIT_S)
