"""Working folders that one thread of one process uses at a time, and the next one finds again after a crash."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.system.file_lock import FileLock
from runner.system.files import USUAL_FILE, download_error

FOLDER = ".incoming"


@contextmanager
def claimed(top: Path, name: str) -> Iterator[Path | None]:
    """Claim the working folder ``name`` below ``top``, as its last user left it; None if another is using it now.

    Raises:
        DiskError: it cannot be created.
    """
    try:
        lock = _lock(top / FOLDER / f"{name}.lock")
    except OSError as error:
        raise download_error(error, top / FOLDER / name) from error
    if lock is None:
        yield None
        return
    with lock:
        folder = top / FOLDER / name
        try:
            yield folder
        finally:
            if not folder.exists():
                lock.path.unlink(missing_ok=True)


def remove_leftovers(top: Path) -> None:
    """Remove the working folders that are not in use any more."""
    for lock_file in (top / FOLDER).glob("*.lock"):
        with claimed(top, lock_file.stem) as folder:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        (top / FOLDER).rmdir()


def _lock(path: Path) -> FileLock | None:
    """Lock the file; None if another has it. A file that was deleted before it could be locked does not count."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock.of_file(path, mode=USUAL_FILE)
        except FileNotFoundError:
            continue
        is_ours = lock.try_acquire()
        if is_ours and lock.is_current():
            return lock
        lock.release()
        if not is_ours:
            return None
