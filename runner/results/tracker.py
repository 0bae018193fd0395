"""The downloaded result sets of a batch, in ``<results>/<batch>/.downloads.jsonl``; no other module puts them into their folders.

One JSON record a line, on the disk before the call returns. A line that a crash cut off is skipped; a rename whose
record is missing is found by looking. Several threads and processes may use one folder: a writer holds its lock.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runner.system.file_lock import FileLock
from runner.system.files import USUAL_FILE, download_error, sync_folder
from runner.system.line_file import LineFile

FILE = ".downloads.jsonl"


@dataclass(frozen=True, kw_only=True)
class DownloadedSet:
    """A downloaded result set. ``size_bytes`` and ``crc32c`` are its archive's, by which it is recognized in the bucket.

    ``is_deleted``: nothing of it is in the bucket any more.
    """

    job: str
    attempt: int
    push: int
    folder: Path
    files: int
    size_bytes: int
    crc32c: str
    is_deleted: bool = False

    @property
    def key(self) -> tuple[str, int, int, str]:
        """What distinguishes it from all others of its batch."""
        return self.job, self.attempt, self.size_bytes, self.crc32c


@dataclass(frozen=True, kw_only=True)
class _Move:
    """A rename that was announced."""

    downloaded: DownloadedSet
    source: Path


def _no_step(name: str) -> None:
    return None


class DownloadTracker:
    """The result sets of one batch that are downloaded to ``folder``. Reading never waits for a lock and never writes.

    Raises (all): DiskError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / FILE
        self._mutex = threading.RLock()
        self._offset = 0
        self._downloaded: dict[tuple[str, int, int, str], DownloadedSet] = {}
        self._announced: dict[tuple[str, int, int, str], _Move] = {}
        if self._is_there():
            with self._locked():
                pass  # record the renames that a crash left unrecorded

    def downloaded_sets(self) -> list[DownloadedSet]:
        """Return all downloaded sets, by job and attempt."""
        with self._mutex:
            self._read_on()
            return sorted(
                self._downloaded.values(), key=lambda downloaded: (downloaded.job, downloaded.attempt, downloaded.push)
            )

    def is_downloaded(self, job: str) -> bool:
        """Return whether an attempt of the job was downloaded, even if the user has moved its folder since."""
        return any(downloaded.job == job for downloaded in self.downloaded_sets())

    def find(self, job: str, attempt: int = 0) -> DownloadedSet | None:
        """Find this attempt of a job; without a number the newest. None if it is not downloaded."""
        found = [
            downloaded
            for downloaded in self.downloaded_sets()
            if downloaded.job == job and attempt in (0, downloaded.attempt)
        ]
        return max(found, key=lambda downloaded: (downloaded.attempt, downloaded.push), default=None)

    def find_same(self, job: str, attempt: int, size_bytes: int, crc32c: str) -> DownloadedSet | None:
        """Find the downloaded set that came from this archive."""
        with self._mutex:
            self._read_on()
            return self._downloaded.get((job, attempt, size_bytes, crc32c))

    def place(
        self, source: Path, downloaded: DownloadedSet, *, on_step: Callable[[str], None] = _no_step
    ) -> DownloadedSet:
        """Rename the folder ``source``, which is on the disk already, to where ``downloaded`` belongs; return ``downloaded`` with that folder.

        The newest attempt is in ``<job>``, any other in ``<job>.attempt-<n>``. Nothing is overwritten.

        Raises:
            DiskError: the record could not be written; the next call or process continues from there.
        """
        with self._locked():
            main = self.folder / downloaded.job
            holder = self._holder(main)
            if holder is not None and holder.attempt < downloaded.attempt and main.is_dir():
                self._move(main, replace(holder, folder=self._free_folder(holder)), on_step)
            folder = main if not os.path.lexists(main) else self._free_folder(downloaded)
            return self._move(source, replace(downloaded, folder=folder), on_step)

    def adopt(self, downloaded: DownloadedSet) -> DownloadedSet:
        """Record a folder that already existed and turned out to be this set."""
        with self._locked():
            self._write("home", downloaded)
        return downloaded

    def knows(self, folder: Path) -> bool:
        """Return whether this folder has a downloaded set."""
        with self._mutex:
            self._read_on()
            return self._holder(folder) is not None

    def record_deleted(self, downloaded: DownloadedSet) -> None:
        """Record that nothing of it is in the bucket any more."""
        with self._locked():
            self._write("deleted", replace(self._downloaded.get(downloaded.key, downloaded), is_deleted=True))

    def _is_there(self) -> bool:
        """Return whether anything was ever recorded."""
        try:
            return self._file.exists()
        except OSError as error:  # such as a name that is too long, or a folder that may not be looked into
            raise download_error(error, self._file) from error

    def _holder(self, folder: Path) -> DownloadedSet | None:
        """Return the last set that was put there; an earlier one that the user removed may be recorded for the same folder."""
        return next(
            (downloaded for downloaded in reversed(self._downloaded.values()) if downloaded.folder == folder), None
        )

    def _free_folder(self, downloaded: DownloadedSet) -> Path:
        first = self.folder / f"{downloaded.job}.attempt-{downloaded.attempt}"
        candidate, number = first, 1
        while os.path.lexists(candidate):
            number += 1
            candidate = first.with_name(f"{first.name}.{number}")
        return candidate

    def _move(self, source: Path, downloaded: DownloadedSet, on_step: Callable[[str], None]) -> DownloadedSet:
        self._write("placing", downloaded, source=str(source.relative_to(self.folder)))
        on_step("announced")
        source.rename(downloaded.folder)
        sync_folder(self.folder)
        on_step("renamed")
        self._write("home", downloaded)
        on_step("recorded")
        return downloaded

    def _settle(self) -> None:
        """Record announced renames that were done, but not recorded: the target exists, the source does not."""
        for move in list(self._announced.values()):
            if move.downloaded.folder.is_dir() and not move.source.exists():
                sync_folder(self.folder)
                self._write("home", move.downloaded)
        self._announced.clear()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude all other threads and processes, and read what they wrote. Do not nest it."""
        with self._mutex:
            try:
                is_new = not self._file.exists()
                self.folder.mkdir(parents=True, exist_ok=True)
                with FileLock.of_file(self._file, mode=USUAL_FILE) as lock:
                    if is_new:
                        sync_folder(self.folder)
                        sync_folder(self.folder.parent)
                    lock.acquire()
                    self._read_on()
                    self._settle()
                    yield
            except OSError as error:
                raise download_error(error, self._file) from error

    def _write(self, state: str, downloaded: DownloadedSet, **more: Any) -> None:
        values = {**asdict(downloaded), "folder": str(downloaded.folder.relative_to(self.folder)), **more}
        with LineFile(self._file) as file:
            file.append(json.dumps({"state": state, **values}).encode() + b"\n")
        self._read_on()

    def _read_on(self) -> None:
        """Read the lines that were added since, by any process; an incomplete last line is not read yet."""
        try:
            with self._file.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._offset:
                    self._forget()
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise download_error(error, self._file) from error
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._apply_line(line)

    def _forget(self) -> None:
        """Forget everything: the file was replaced."""
        self._offset = 0
        self._downloaded.clear()
        self._announced.clear()

    def _apply_line(self, line: bytes) -> None:
        try:
            values = json.loads(line)
            downloaded = _read_set(values, self.folder)
            source = self.folder / str(values.get("source", ""))
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # cut off
        match values.get("state"):
            case "placing":
                self._announced[downloaded.key] = _Move(downloaded=downloaded, source=source)
            case "home" | "deleted":
                self._announced.pop(downloaded.key, None)
                self._downloaded.pop(downloaded.key, None)
                self._downloaded[downloaded.key] = downloaded


def _read_set(values: dict[str, Any], folder: Path) -> DownloadedSet:
    return DownloadedSet(
        job=str(values["job"]),
        attempt=int(values["attempt"]),
        push=int(values["push"]),
        folder=folder / str(values["folder"]),
        files=int(values["files"]),
        size_bytes=int(values["size_bytes"]),
        crc32c=str(values["crc32c"]),
        is_deleted=values.get("is_deleted") is True,
    )
