"""Reads the embedded cloud's log: internal errors that clients did not see."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

LOG_FILE = "emulator.log"
TRACEBACK = "Traceback (most recent call last)"
#: The beginning of a record: ours has a time, the HTTP server's a level, Python's own a thread.
_RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d|[A-Z]+:\s|Exception in thread )", re.MULTILINE)
#: Large folders of the state that contain no state of another cloud.
_ROOTS = frozenset({"disks", "images", "objects"})


def log_file(state: Path) -> Path:
    """Return the path of the log of the embedded cloud in this folder."""
    return state / LOG_FILE


def read_tracebacks(log: Path) -> list[str]:
    """Return the records of a log that have a traceback, oldest first; none if the log does not exist."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [record.rstrip() for record in _RECORD.split(text) if TRACEBACK in record]


def find_logs(folder: Path) -> Iterator[Path]:
    """Yield the logs of all the embedded clouds below a folder."""
    for path, folders, files in os.walk(folder):
        if LOG_FILE in files:
            folders[:] = [name for name in folders if name not in _ROOTS]
            yield Path(path) / LOG_FILE
