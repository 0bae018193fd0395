"""A deadline that can be moved while a thread waits for it. A move, from any computer, takes effect within ``WATCH_S``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runner.errors import InputError

WATCH_S = 2.0
"""How often a client checks the deadlines of its jobs, and whether the lease has new ones."""


class Deadline:
    """``limit_s`` after it was created, and never later than ``longest_s`` after that (None: no such limit). Safe for several threads.

    ``of``: what has this deadline, for messages.
    """

    def __init__(
        self,
        limit_s: float,
        *,
        longest_s: float | None = None,
        of: str = "the job",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._of = of
        self._monotonic = monotonic
        self._began = monotonic()
        self._lock = threading.Lock()
        self._longest_s = longest_s
        self._limit_s = self._checked(limit_s)

    @property
    def limit_s(self) -> float:
        """The deadline, in seconds after the start."""
        with self._lock:
            return self._limit_s

    @property
    def remaining_s(self) -> float:
        """The seconds that are left; 0 when it has passed."""
        return max(0.0, self.limit_s - (self._monotonic() - self._began))

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.remaining_s == 0.0

    def extend(self, minutes: float) -> float:
        """Move it by this many minutes, which may be negative; return the seconds that are left then.

        Raises:
            InputError: that is later than ``longest_s`` allows; nothing was moved.
        """
        with self._lock:
            self._limit_s = self._checked(self._limit_s + 60 * minutes)
        return self.remaining_s

    def move_to(self, limit_s: float) -> bool:
        """Move it to ``limit_s`` after the start, as a lease has it; return whether that changed it.

        Raises:
            InputError: that is later than ``longest_s`` allows; nothing was moved.
        """
        with self._lock:
            before, self._limit_s = self._limit_s, self._checked(limit_s)
            return before != self._limit_s

    def _checked(self, limit_s: float) -> float:
        if self._longest_s is not None and limit_s > self._longest_s:
            raise InputError(
                f"a deadline of {self._of} {limit_s / 60:.0f} minutes after its start is {(limit_s - self._longest_s) / 60:.0f} minutes "
                f"beyond the end of the VMs ({self._longest_s / 60:.0f} minutes, their maxRunDuration), which cannot be moved",
                remedy="run the jobs that are not done by then in a batch of their own, with a longer timeout_min",
            )
        return max(0.0, limit_s)
