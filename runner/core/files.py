"""Files that are whole or not there: written to a temporary name, fsynced, renamed. And what a disk says, as one of our errors."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import DiskError

STATE_ELSEWHERE = "OPENSEES_HPC_HOME names another folder for what commands keep"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
IN_THE_WAY = frozenset({errno.ENOTDIR, errno.EEXIST, errno.EISDIR})


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write ``content`` to ``path``; after a crash either the old or the new content is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_private(path: Path, content: bytes) -> None:
    """Write a secret: only its owner may read it, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, content, mode=0o600)


def disk_error(error: OSError, where: Path | str, *, more: str = "") -> DiskError:
    """What this machine's disk said about ``where``. The remedy is what helps against that; the caller knows what ``more`` to say."""
    remedy = "; ".join(part for part in (_what_helps(error), more) if part)
    which = f": {error.filename}" if isinstance(error.filename, str | os.PathLike) else ""
    return DiskError(f"cannot write below {Path(where).parent}: {error.strerror or error}{which}", remedy=remedy)


@contextmanager
def disk_errors_mapped(where: Path | str, *, more: str = "") -> Iterator[None]:
    """Inside, what the disk says is a DiskError about ``where``; see ``disk_error``."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, where, more=more) from error


def require_folder(folder: Path, *, more: str = "") -> None:
    """Make the folder if it is not there, and see that files can be made in it.

    Raises:
        DiskError: it cannot be made, or not written to.
    """
    with disk_errors_mapped(folder / "file", more=more):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".writable.")
        os.close(handle)
        Path(name).unlink()


def _what_helps(error: OSError) -> str:
    if error.errno in NO_ROOM:
        return "make room or raise the quota"
    if error.errno in IN_THE_WAY:
        return "something else lies where a folder or a file of ours belongs: move it away"
    if error.errno == errno.ENAMETOOLONG:
        return "choose a folder with a shorter path"
    return "let it be a folder that you may write to"
