"""One process at a time. The lock is the kernel's (``flock``): it ends with its process, whatever ended that."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.system.files import STATE_ELSEWHERE, disk_error, open_private


@contextmanager
def waiting_lock(file: Path, *, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Inside, nobody else has the lock ``file``, one of what commands keep, which is made if need be. Who comes later waits; ``on_wait`` is called before.

    Raises:
        DiskError: there is no lock file, and none can be made.
    """
    try:
        lock = open_private(file)
    except OSError as error:
        raise disk_error(error, file, more=STATE_ELSEWHERE) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
