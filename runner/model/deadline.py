"""A deadline that can be moved while it is waited for. Whoever moves one, on any machine, is heard within ``WATCH_S``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runner.errors import InputError

WATCH_S = 2.0
"""How often a client looks at the deadlines of its jobs, and whether somebody moved them in the lease."""


class Deadline:
    """``limit_s`` after its making, and never later than ``wall_s`` after it (None: no outer wall). Safe for several threads.

    ``of``: whose it is.
    """

    def __init__(
        self,
        limit_s: float,
        *,
        wall_s: float | None = None,
        of: str = "what runs",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._of = of
        self._monotonic = monotonic
        self._began = monotonic()
        self._lock = threading.Lock()
        self._wall_s = wall_s
        self._limit_s = self._checked(limit_s)

    @property
    def limit_s(self) -> float:
        """The deadline, in seconds after the beginning."""
        with self._lock:
            return self._limit_s

    @property
    def remaining_s(self) -> float:
        """How long it is until then; 0 when it has passed."""
        return max(0.0, self.limit_s - (self._monotonic() - self._began))

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.remaining_s == 0.0

    def extend(self, minutes: float) -> float:
        """Move it by so many minutes, which may be negative; the seconds that remain then.

        Raises:
            InputError: that is beyond the outer wall; nothing was moved.
        """
        with self._lock:
            self._limit_s = self._checked(self._limit_s + 60 * minutes)
        return self.remaining_s

    def move_to(self, limit_s: float) -> bool:
        """Put it at ``limit_s`` after the beginning, as a lease says it; whether it was elsewhere.

        Raises:
            InputError: that is beyond the outer wall; nothing was moved.
        """
        with self._lock:
            before, self._limit_s = self._limit_s, self._checked(limit_s)
            return before != self._limit_s

    def _checked(self, limit_s: float) -> float:
        if self._wall_s is not None and limit_s > self._wall_s:
            raise InputError(
                f"a deadline of {self._of} {limit_s / 60:.0f} minutes after its beginning is {(limit_s - self._wall_s) / 60:.0f} minutes "
                f"beyond the end of the VMs ({self._wall_s / 60:.0f} minutes, their maxRunDuration), which cannot be moved",
                remedy="start again what is not done by then, in a batch of its own with a longer timeout_min",
            )
        return max(0.0, limit_s)
