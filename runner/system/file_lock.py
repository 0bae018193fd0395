"""One process at a time. The lock is the kernel's (``flock``): it ends with its process, however that ends.

All locks on files of this computer are taken here. A lock on a file that is deleted and created again is on nothing:
``FileLock.is_current`` says so.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.system.files import PRIVATE_FILE, STATE_ELSEWHERE, disk_error, make_private_folder

BUSY = frozenset({errno.EWOULDBLOCK, errno.EACCES})


class FileLock:
    """The lock of one file or folder, which this process has opened but not yet taken. ``release``, or the end of a block, closes it.

    Threads exclude each other too, if each opens its own.
    """

    def __init__(self, path: Path, flags: int, mode: int = 0) -> None:
        """Open ``path``. Raises: OSError."""
        self.path = path
        self._handle = os.open(path, flags | os.O_CLOEXEC, mode)
        self._is_open = True

    @classmethod
    def of_file(cls, path: Path, *, mode: int = PRIVATE_FILE) -> Self:
        """Open the file ``path``, which is created if necessary with the rights ``mode``; its content is kept."""
        return cls(path, os.O_RDWR | os.O_CREAT, mode)

    @classmethod
    def of_existing(cls, path: Path) -> Self:
        """Open an existing file or folder, without the right to write to it."""
        return cls(path, os.O_RDONLY)

    @property
    def handle(self) -> int:
        """The file's descriptor, to write a record of the holder into it."""
        return self._handle

    def try_acquire(self, *, is_shared: bool = False) -> bool:
        """Take the lock unless another process has it; return whether it is ours. ``is_shared``: share it with other readers.

        Raises:
            OSError: the file system has no locks.
        """
        try:
            fcntl.flock(self._handle, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY:
                return False
            raise
        return True

    def acquire(self, *, on_wait: Callable[[], object] = lambda: None) -> None:
        """Take the lock; if it is held, call ``on_wait`` and wait for it."""
        if not self.try_acquire():
            on_wait()
            fcntl.flock(self._handle, fcntl.LOCK_EX)

    def is_current(self) -> bool:
        """Return whether the file still has its name: it may have been deleted before it was locked."""
        try:
            return os.path.samestat(os.fstat(self._handle), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release it. A second call does nothing."""
        if self._is_open:
            self._is_open = False
            os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@contextmanager
def waiting_lock(file: Path, *, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock ``file`` of the state folder, which is created if necessary; ``on_wait`` is called before a wait.

    Raises:
        DiskError: there is no lock file, and none can be created.
    """
    try:
        make_private_folder(file.parent)
        lock = FileLock.of_file(file)
    except OSError as error:
        raise disk_error(error, file, more=STATE_ELSEWHERE) from error
    with lock:
        lock.acquire(on_wait=on_wait)
        yield
