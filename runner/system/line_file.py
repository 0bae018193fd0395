"""A file that only grows, line by line, each line on the disk before the call returns; a line is complete or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

TAIL_BYTES = 8192


class LineFile:
    """Appends lines to an existing file. Safe for several threads; the caller ensures that no other process writes."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises: OSError."""
        self._lock = threading.Lock()
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._is_open = True
        self._first = b"" if self._ends_whole() else b"\n"  # a line that was cut off must not swallow the next one

    def append(self, lines: bytes) -> None:
        """Write whole lines and wait until the disk has them.

        Raises:
            OSError: they could not be written; then the file is as it was before.
        """
        with self._lock:
            if not self._is_open:
                raise OSError(errno.EBADF, "it was closed")
            before = os.fstat(self._handle).st_size
            try:
                rest = self._first + lines
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
                os.fsync(self._handle)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, before)
                raise
            self._first = b""

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ends_whole(self) -> bool:
        size = os.fstat(self._handle).st_size
        return size == 0 or os.pread(self._handle, 1, size - 1) == b"\n"


def read_last_line(path: Path) -> bytes:
    """Return the last line of a file that is not empty, if it is in the last few KiB; nothing if the file cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            return last_line(file.read())
    except OSError:
        return b""


def last_line(content: bytes) -> bytes:
    """Return the last line that is not empty."""
    lines: Sequence[bytes] = content.rstrip(b"\n").rsplit(b"\n", 1)
    return lines[-1]
