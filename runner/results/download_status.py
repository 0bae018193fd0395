"""What is downloaded, and what prevents the rest, each reported once."""

from __future__ import annotations

import threading

from runner.errors import CloudError, DiskError
from runner.model.events import DownloadsPaused, DownloadsResumed, Listener, ResultsDownloaded, ResultsTooBig
from runner.results.manifest import NoRoomError
from runner.results.store import ResultSet
from runner.results.tracker import DownloadedSet


class DownloadStatus:
    """The state of a collector's downloads. Safe for several threads.

    ``disk``: the error since this computer's disk has no room; ``is_paused``: start no downloads because of that; ``trouble``: the
    error since the cloud does not answer or refuses. A set that alone needs more room than the disk has does not stop the others.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._reported: set[tuple[str, int, int, str]] = set()
        self._defects: set[str] = set()
        self._too_big: dict[tuple[str, int], NoRoomError] = {}
        self.disk: DiskError | None = None
        self.trouble: CloudError | None = None
        self.is_paused = False

    def try_again(self) -> None:
        """Forget all errors: they may be over."""
        with self._lock:
            self.is_paused, self.disk, self.trouble = False, None, None

    def unpause(self) -> bool:
        """Allow downloads again; return whether they were paused."""
        with self._lock:
            was_paused, self.is_paused = self.is_paused, False
            return was_paused

    def note_calm(self) -> None:
        """Note that the cloud answered, and nothing is due."""
        with self._lock:
            self.trouble = None

    def note_downloaded(self, downloaded: DownloadedSet) -> bool:
        """Note that a set is downloaded; return whether that is new."""
        with self._lock:
            is_new = downloaded.key not in self._reported
            self._reported.add(downloaded.key)
            self._too_big.pop((downloaded.job, downloaded.attempt), None)
            had_no_room, self.disk, self.trouble = self.disk is not None, None, None
        if had_no_room:
            self._listener.report(DownloadsResumed())
        if is_new:
            self._listener.report(
                ResultsDownloaded(
                    job=downloaded.job,
                    attempt=downloaded.attempt,
                    files=downloaded.files,
                    bytes=downloaded.size_bytes,
                    folder=str(downloaded.folder),
                )
            )
        return is_new

    def note_disk(self, error: DiskError) -> None:
        """Note that the disk has no room."""
        with self._lock:
            is_first, self.disk, self.is_paused = self.disk is None, error, True
        if is_first:
            self._listener.report(DownloadsPaused(message=error.message, remedy=error.remedy))

    def note_too_big(self, found: ResultSet, error: NoRoomError) -> None:
        """Note that the disk has less room than this set needs."""
        with self._lock:
            is_first = (found.job, found.attempt) not in self._too_big
            self._too_big[found.job, found.attempt] = error
        if is_first:
            self._listener.report(
                ResultsTooBig(
                    message=error.message,
                    remedy=error.remedy,
                    job=found.job,
                    attempt=found.attempt,
                    prefix=found.prefix,
                )
            )

    def find_disk(self, job: str, attempt: int) -> DiskError | None:
        """Return the error if the disk had no room for an attempt's results at the last try, else None."""
        with self._lock:
            return self.disk or self._too_big.get((job, attempt))

    def note_trouble(self, error: CloudError) -> None:
        """Note that the cloud does not answer, or refuses."""
        with self._lock:
            is_first, self.trouble = self.trouble is None, error
        if is_first:
            self._listener.warn(f"downloads paused: {error}")

    def note_defect(self, error: Exception) -> None:
        """Note an unexpected error."""
        with self._lock:
            is_first = repr(error) not in self._defects
            self._defects.add(repr(error))
        if is_first:
            self._listener.warn(f"downloads paused, and will be tried again: {error!r}")
