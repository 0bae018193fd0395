"""A collector on a bucket, and what it reports."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runner.model import names
from runner.model.events import Event, Listener
from runner.results.collector import Collector
from runner.results.tracker import DownloadTracker
from tests.support.bucket import Batch

LIMIT_S = 60.0


@dataclass(kw_only=True)
class Reported:
    """The events that were reported."""

    events: list[Event] = field(default_factory=list)

    @property
    def listener(self) -> Listener:
        return Listener(on_progress=self.events.append)

    def states(self) -> list[str]:
        return [event.as_json()["state"] for event in self.events if event.kind == "results"]

    def warnings(self) -> list[str]:
        return [event.as_json()["message"] for event in self.events if event.kind == "warning"]


def make_collector(batch: Batch, reported: Reported, **more: Any) -> Collector:
    return Collector(batch.context.cloud.results, batch.name, DownloadTracker(batch.folder), reported.listener, **more)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@contextlib.contextmanager
def running(collector: Collector) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def damage(batch: Batch, job: str = "a") -> None:
    batch.put(job, names.MANIFEST, b"{}")
