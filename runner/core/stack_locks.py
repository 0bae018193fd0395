"""Locks on a stack's state: whose they are, and whether that process still lives."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from datetime import datetime

LOCK = re.compile(r"created by (?P<user>\S*)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<at>\S+)")
CLOCK_SLACK_S = 2.0


@dataclass(frozen=True, kw_only=True)
class StackLock:
    """Who locked a stack, and when."""

    user: str
    host: str
    pid: int
    at: datetime

    def is_stale(self) -> bool:
        """Was it left by an engine of this machine that is no more? A lock from another machine never counts as stale."""
        return self.host == socket.gethostname() and not self._holder_lives()

    def _holder_lives(self) -> bool:
        """The process has to be older than the lock, or it merely has the same number."""
        import psutil

        try:
            return bool(psutil.Process(self.pid).create_time() <= self.at.timestamp() + CLOCK_SLACK_S)
        except psutil.NoSuchProcess:
            return False


def read_locks(message: str) -> list[StackLock]:
    """The locks that the engine names when it refuses to begin."""
    return [
        StackLock(
            user=found["user"],
            host=found["host"],
            pid=int(found["pid"]),
            at=datetime.fromisoformat(found["at"].replace("Z", "+00:00")),
        )
        for found in LOCK.finditer(message)
    ]
