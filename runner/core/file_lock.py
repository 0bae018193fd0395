"""One process at a time. The lock is the kernel's (``flock``): it ends with its process, whatever ended that."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.core.files import open_private
from runner.core.results import disk_error


@contextmanager
def waiting_lock(file: Path, *, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Inside, nobody else has the lock ``file``, which is made if need be. Who comes later waits; ``on_wait`` is called before.

    Raises:
        DiskError: there is no lock file, and none can be made.
    """
    try:
        lock = open_private(file)
    except OSError as error:
        raise disk_error(error, file) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
