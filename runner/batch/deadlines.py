"""The deadlines of running jobs, as the client that started them sees them: moved when extended, announced when near.

The VMs end the jobs, each by its own clock; a user who is warned in time can extend them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runner.model.deadline import WATCH_S, Deadline
from runner.model.events import Listener

NEAR_S = 5 * 60.0
NEAR_SHARE = 0.1  # of a job's whole time, where that is less


class JobDeadlines:
    """The deadlines of one batch. Safe for several threads. ``run`` is the body of its own thread."""

    def __init__(self, batch: str, listener: Listener, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._batch = batch
        self._listener = listener
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Deadline] = {}
        self._warned: set[tuple[str, int]] = set()

    def begin(self, job: str, attempt: int, limit_s: float) -> None:
        """Begin the deadline of an attempt."""
        with self._lock:
            self._running[job, attempt] = Deadline(limit_s, of=f"job {job}", monotonic=self._monotonic)

    def end(self, job: str, attempt: int) -> None:
        """Forget the deadline of an attempt that has ended or whose VM is lost. A second call is harmless."""
        with self._lock:
            self._running.pop((job, attempt), None)

    def move(self, job: str, limit_s: float) -> None:
        """Move a job's deadline, after it was extended."""
        with self._lock:
            for key, deadline in self._running.items():
                if key[0] == job and deadline.move_to(limit_s):
                    self._warned.discard(key)

    def look(self) -> None:
        """Warn once of each deadline that is near. The VMs act on those that have passed."""
        with self._lock:
            near = {key: one for key, one in self._running.items() if key not in self._warned and _is_near(one)}
            self._warned.update(near)
        for (job, _), deadline in near.items():
            message = f"job {job} will be ended at its deadline in {deadline.remaining_s / 60:.0f} min"
            remedy = f"`invoke extend --batch {self._batch} --job {job} --minutes 30` gives it more time"
            self._listener.warn(f"{message}; {remedy}")

    def run(self, stop: threading.Event) -> None:
        """Warn every ``WATCH_S`` until ``stop``."""
        while not stop.wait(WATCH_S):
            self.look()


def _is_near(deadline: Deadline) -> bool:
    return not deadline.expired and deadline.remaining_s <= min(NEAR_S, NEAR_SHARE * deadline.limit_s)
