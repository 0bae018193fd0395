"""The holder of a lock."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from runner.stacks.locks import StackLock, read_locks

MESSAGE = """error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock
file with `pulumi cancel`.
  file:///state/.pulumi/locks/organization/opensees-hpc-base/base/1.json: created by you@host-1 (pid 4711) at 2026-11-22T09:08:44Z
"""


def make_lock(pid: int, *, host: str = "", at: datetime | None = None) -> StackLock:
    return StackLock(user="you", host=host or socket.gethostname(), pid=pid, at=at or datetime.now(UTC))


def test_the_engines_message_is_read() -> None:
    at = datetime(2026, 11, 22, 9, 8, 44, tzinfo=UTC)
    assert read_locks(MESSAGE) == [StackLock(user="you", host="host-1", pid=4711, at=at)]
    assert read_locks("another error") == []


def test_a_living_holder_keeps_its_lock() -> None:
    assert not make_lock(os.getpid()).is_stale()


def test_a_dead_holder_does_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    assert make_lock(process.pid).is_stale()


def test_a_younger_process_with_the_same_number_does_not() -> None:
    assert make_lock(os.getpid(), at=datetime.now(UTC) - timedelta(days=1)).is_stale()


def test_nothing_is_known_of_other_computers() -> None:
    assert not make_lock(1, host="elsewhere", at=datetime.now(UTC) - timedelta(days=1)).is_stale()


def test_a_lock_of_another_computer_is_abandoned_when_it_is_older_than_any_update() -> None:
    now = datetime.now(UTC)
    assert make_lock(1, host="elsewhere", at=now - timedelta(minutes=61)).is_abandoned()
    assert not make_lock(1, host="elsewhere", at=now - timedelta(minutes=59)).is_abandoned()
    assert not make_lock(os.getpid(), at=now - timedelta(days=1)).is_abandoned()
