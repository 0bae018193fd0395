"""Locks on a stack's state: who holds them, and whether that process is still alive."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runner.journal import CLOCK_SLACK_S

LOCK = re.compile(r"created by (?P<user>\S*)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<at>\S+)")
# No update of a batch's VMs may run for more than 20 minutes; the rest allows for clocks that differ.
ABANDONED_AFTER_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class StackLock:
    """Who locked a stack, and when."""

    user: str
    host: str
    pid: int
    at: datetime

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (process {self.pid}, since {self.at})"

    def is_stale(self) -> bool:
        """Return whether a dead engine of this computer left it. A lock from another computer never counts as stale."""
        return self.host == socket.gethostname() and not self._holder_lives()

    def is_abandoned(self) -> bool:
        """Return whether it is another computer's, and older than any update of a batch can be."""
        age_s = datetime.now(UTC).timestamp() - self.at.timestamp()
        return self.host != socket.gethostname() and age_s > ABANDONED_AFTER_S

    def _holder_lives(self) -> bool:
        """Return whether the process exists and is older than the lock: a younger one merely has the same number."""
        import psutil

        try:
            return bool(psutil.Process(self.pid).create_time() <= self.at.timestamp() + CLOCK_SLACK_S)
        except psutil.NoSuchProcess:
            return False


def read_locks(message: str) -> list[StackLock]:
    """Return the locks that the engine names when it refuses to start."""
    return [
        StackLock(
            user=found["user"],
            host=found["host"],
            pid=int(found["pid"]),
            at=datetime.fromisoformat(found["at"].replace("Z", "+00:00")),
        )
        for found in LOCK.finditer(message)
    ]


def read_lock_file(path: Path) -> StackLock | None:
    """Read a lock of Pulumi's backend for a folder; return None if it cannot be read: a half-written one has no holder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return StackLock(
            user=str(found["username"]),
            host=str(found["hostname"]),
            pid=int(found["pid"]),
            at=datetime.fromisoformat(_whole_microseconds(str(found["timestamp"]))),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _whole_microseconds(text: str) -> str:
    """Cut a time to microseconds: Go writes nanoseconds, of which Python's parser before 3.12 takes six digits."""
    head, dot, rest = text.replace("Z", "+00:00").partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return head + (f".{digits[:6].ljust(6, '0')}{rest[len(digits) :]}" if dot else "")
