"""What came home and what keeps the rest from coming, each told once."""

from __future__ import annotations

import threading

from runner.errors import CloudError, DiskError
from runner.model.events import Listener
from runner.results.manifest import NoRoomError
from runner.results.store import ResultSet
from runner.results.tracker import HomeSet


class Arrivals:
    """The collector's view of its own luck. Safe for several threads.

    ``disk``: there is no room at home since then; ``is_paused``: nothing new is to be begun for that; ``trouble``: the cloud
    does not answer or refuses since then. A set that alone needs more room than there is keeps no other from coming.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._told: set[tuple[str, int, int, str]] = set()
        self._defects: set[str] = set()
        self._too_big: dict[tuple[str, int], NoRoomError] = {}
        self.disk: DiskError | None = None
        self.trouble: CloudError | None = None
        self.is_paused = False

    def try_again(self) -> None:
        """Whatever was, it may be better now."""
        with self._lock:
            self.is_paused, self.disk, self.trouble = False, None, None

    def unpause(self) -> bool:
        """Let something be tried; whether nothing was before."""
        with self._lock:
            was_paused, self.is_paused = self.is_paused, False
            return was_paused

    def note_calm(self) -> None:
        """The cloud answered, and nothing is due."""
        with self._lock:
            self.trouble = None

    def note_home(self, home: HomeSet) -> bool:
        """A set is home; whether this is news."""
        with self._lock:
            is_new = home.key not in self._told
            self._told.add(home.key)
            self._too_big.pop((home.job, home.attempt), None)
            had_no_room, self.disk, self.trouble = self.disk is not None, None, None
        if had_no_room:
            self._listener.tell("results", state="resumed")
        if is_new:
            self._listener.tell(
                "results",
                job=home.job,
                attempt=home.attempt,
                state="home",
                files=home.files,
                bytes=home.size_bytes,
                folder=str(home.folder),
            )
        return is_new

    def note_disk(self, error: DiskError) -> None:
        """There is no room at home."""
        with self._lock:
            is_first, self.disk, self.is_paused = self.disk is None, error, True
        if is_first:
            self._listener.tell("results", state="paused", message=error.message, remedy=error.remedy)

    def note_too_big(self, found: ResultSet, error: NoRoomError) -> None:
        """There is less room at home than this set needs."""
        with self._lock:
            is_first = (found.job, found.attempt) not in self._too_big
            self._too_big[found.job, found.attempt] = error
        if is_first:
            facts = {"job": found.job, "attempt": found.attempt, "prefix": found.prefix}
            self._listener.tell("results", state="too big", message=error.message, remedy=error.remedy, **facts)

    def find_disk(self, job: str, attempt: int) -> DiskError | None:
        """Why there was no room at home for an attempt's results when they were last tried; None if there was."""
        with self._lock:
            return self.disk or self._too_big.get((job, attempt))

    def note_trouble(self, error: CloudError) -> None:
        """The cloud does not answer, or refuses."""
        with self._lock:
            is_first, self.trouble = self.trouble is None, error
        if is_first:
            self._listener.tell("warning", message=f"results do not come home now: {error}")

    def note_defect(self, error: Exception) -> None:
        """Something went wrong that nobody thought of."""
        with self._lock:
            is_first = repr(error) not in self._defects
            self._defects.add(repr(error))
        if is_first:
            self._listener.tell("warning", message=f"results do not come home now, they are tried again: {error!r}")
