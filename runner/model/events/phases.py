"""How long the phases of a command take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from runner.model.events.command import PhaseEnded, PhaseStarted
from runner.model.events.listener import Listener


class Phases:
    """How long each phase of a command took, in s. Phases may overlap; if a phase repeats, its times are added up.

    ``parts``: for a phase that several VMs or jobs go through at once, such as booting, the times by their names.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self.seconds: dict[str, float] = {}
        self.parts: dict[str, dict[str, float]] = {}

    @contextmanager
    def phase(self, name: str, of: str = "") -> Iterator[None]:
        """Time the block, and report its start and end. ``of``: which VM or job goes through this phase."""
        self._listener.report(PhaseStarted(phase=name, of=of))
        begun = time.monotonic()
        state: Literal["done", "failed"] = "failed"
        try:
            yield
            state = "done"
        finally:
            took = time.monotonic() - begun
            with self._lock:
                times, key = (self.parts.setdefault(name, {}), of) if of else (self.seconds, name)
                times[key] = round(times.get(key, 0.0) + took, 3)
            self._listener.report(PhaseEnded(phase=name, of=of, state=state, seconds=round(took, 3)))
