"""The logs of running jobs, kept on this computer as far as they were shown: a client that attaches later continues from there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runner.hardware.opensees import LOG_NAME
from runner.model import names
from runner.model.events import Listener
from runner.results import DownloadedSet


class LiveLogs:
    """The live logs of one batch, a file for each attempt. Safe for several threads, if each attempt has only one.

    A disk error is reported once, and stops no job: from then on lines are shown, but not kept.
    """

    def __init__(self, batch_folder: Path, listener: Listener) -> None:
        self._folder = batch_folder / names.LIVE_LOGS
        self._listener = listener
        self._lock = threading.Lock()
        self._has_warned = False
        self._whole: set[str] = set()

    @contextmanager
    def opened(self, attempt: str) -> Iterator[LiveLog]:
        """Open the log of an attempt, to append to it."""
        log = LiveLog(self, self._path(attempt))
        try:
            yield log
        finally:
            log.close()

    def remove(self, attempt: str) -> None:
        """Remove the log of an attempt whose results are downloaded: they have all of it, and it was shown."""
        with self._lock:
            self._whole.add(attempt)
        with contextlib.suppress(OSError):
            self._path(attempt).unlink(missing_ok=True)

    def show_rest(self, results: DownloadedSet) -> None:
        """Show the lines of a downloaded log that were not shown yet: from where its live log ends. A second call shows nothing."""
        attempt = names.attempt_folder(results.job, results.attempt)
        live, log = self._path(attempt), results.folder / LOG_NAME
        with self._lock:
            is_whole = attempt in self._whole
        if not is_whole and log.is_file():
            with log.open("rb") as file:
                file.seek(live.stat().st_size if live.is_file() else 0)
                for line in file:
                    self._listener.log(results.job, line.rstrip(b"\r\n").decode("utf-8", "replace"))
        self.remove(attempt)

    def close(self) -> None:
        """Remove the folder, unless it has logs of jobs whose results were not downloaded."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def note_trouble(self, error: OSError) -> None:
        """Warn once that logs cannot be kept."""
        with self._lock:
            is_first, self._has_warned = not self._has_warned, True
        if is_first:
            why = error.strerror or error
            self._listener.warn(f"log lines are shown, but not kept in {self._folder}: {why}")

    def _path(self, attempt: str) -> Path:
        return self._folder / f"{attempt}.log"


class LiveLog:
    """The log of one attempt. It has whole lines only: a client that continues it begins with a whole line."""

    def __init__(self, logs: LiveLogs, path: Path) -> None:
        self._logs = logs
        self._file: IO[bytes] | None = None
        self.size_bytes = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self.size_bytes = self._file.tell()
        except OSError as error:
            logs.note_trouble(error)

    def add(self, lines: bytes) -> None:
        """Append lines, if they can be kept."""
        if self._file is None:
            return
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) :]
            self.size_bytes += len(lines)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self.size_bytes)
            self.close()
            self._logs.note_trouble(error)

    def close(self) -> None:
        """Close it. A second call is harmless."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # over a network, a full disk may be noticed only now
                file.close()
