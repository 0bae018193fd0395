"""Polling and downloading beside the jobs of a batch, in a thread of its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from runner.results import Collector

END_LIMIT_S = 60.0


class Downloads:
    """A collector at work, from ``start`` to ``stop``, or inside ``with``."""

    def __init__(self, collector: Collector) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=collector.run, args=(self._stop,), daemon=True, name="poll and download")

    def start(self) -> None:
        """Start. Call it once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, whether it has started or not; an unfinished download is repeated once the VMs are gone."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(END_LIMIT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
