"""Corrupt result sets: reported, and left in the bucket until a later push of their attempt is downloaded."""

from __future__ import annotations

import threading

from runner.model.events import Listener, ResultsCorrupt
from runner.results.manifest import CorruptResultsError
from runner.results.store import ResultSet

Generations = tuple[int, int]


class CorruptPushError(CorruptResultsError):
    """A push of an attempt is corrupt. ``push``: its number; the next one has a prefix of its own in the bucket."""

    def __init__(self, message: str, *, push: int) -> None:
        super().__init__(message)
        self.push = push


class CorruptPushes:
    """The corrupt sets of a batch. Safe for several threads."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Generations, str]] = {}
        self._last: dict[tuple[str, int], CorruptPushError] = {}

    def is_known(self, found: ResultSet) -> bool:
        """Return whether it was found corrupt and is still the same, so that fetching it again would not help."""
        with self._lock:
            known = self._known.get(found.prefix)
            return known is not None and known[0] == _generations(found)

    def problems(self) -> dict[str, str]:
        """Return what is wrong, by prefix in the bucket."""
        with self._lock:
            return {prefix: problem for prefix, (_, problem) in sorted(self._known.items())}

    def find(self, job: str, attempt: int, *, least_push: int = 1) -> CorruptPushError | None:
        """Return what is wrong with the last push of an attempt; None if that is not corrupt, does not exist, or is before ``least_push``."""
        with self._lock:
            last = self._last.get((job, attempt))
            return last if last is not None and last.push >= least_push else None

    def note(self, found: ResultSet, error: CorruptResultsError) -> None:
        """Report and record it."""
        self._listener.report(
            ResultsCorrupt(job=found.job, attempt=found.attempt, prefix=found.prefix, message=str(error))
        )
        with self._lock:
            self._known[found.prefix] = (_generations(found), str(error))
            last = self._last.get((found.job, found.attempt))
            if last is None or found.push >= last.push:
                self._last[found.job, found.attempt] = CorruptPushError(str(error), push=found.push)


def _generations(found: ResultSet) -> Generations:
    archive, manifest = found.archive, found.manifest
    return (archive.generation if archive else 0, manifest.generation if manifest else 0)
