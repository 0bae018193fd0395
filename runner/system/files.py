"""Our files and folders: complete or absent, on the disk when the call returns, and private to their owner.

What is below this user's state folder (journals, receipts, settings and states of stacks, keys, the embedded cloud) is created
here, with rights that do not depend on the umask. Results are the user's own files: they follow the umask. What a disk says becomes one of our
errors here, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runner.errors import DiskError

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
USUAL_FILE = 0o666
MANY_FILES = 100  # from this number on it is worth writing out everything else that the disk has pending
LOCAL_FILE_SYSTEMS = frozenset({"ext4", "xfs"})
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})  # some file systems have none

STAYS_IN_BUCKET = "nothing was deleted in the bucket, and what is missing is downloaded again"
STATE_ELSEWHERE = "OPENSEES_HPC_HOME names another folder for what commands keep"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
IN_THE_WAY = frozenset({errno.ENOTDIR, errno.EEXIST, errno.EISDIR})


def make_private_folder(folder: Path) -> None:
    """Create a folder, and those missing above it, for this user alone. Existing ones stay as they are."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_private_folder(folder.parent)
    try:
        folder.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        if not folder.is_dir():
            raise


def open_private(path: Path) -> IO[bytes]:
    """Open a file to read it and to append to it, unbuffered; create it if it is missing, for this user alone."""
    make_private_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
    return os.fdopen(handle, "ab+", buffering=0)


def write_private(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, for this user alone; after a crash either the old or the new content is there."""
    make_private_folder(path.parent)
    _replace(path, content, PRIVATE_FILE)


def write_result(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, a file of the user's own: as ``write_private``, with the rights that the umask leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, content, USUAL_FILE)


def create_private(path: Path, content: bytes) -> None:
    """Create a file for this user alone: with all of ``content``, or not at all, even if the process is killed.

    Of many processes that call this at once exactly one creates the file.

    Raises:
        FileExistsError: there is one of that name.
        OSError: it could not be written.
    """
    make_private_folder(path.parent)
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    fresh = _beside(path)
    try:
        _write_new(fresh, content, PRIVATE_FILE)
        _give_name(fresh, path, content)
        sync_folder(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def tighten(top: Path, *, spare: Collection[Path] = ()) -> None:
    """Remove the rights of other users on what an earlier version, or another program, left at and below ``top``.

    Below the folders in ``spare`` nothing is changed. What belongs to another user, or is no file or folder, is skipped.
    """
    _close(top)
    for parent, folders, files in os.walk(top):
        if Path(parent) in spare:
            folders.clear()
            continue
        for name in [*folders, *files]:
            _close(Path(parent, name))


def _close(path: Path) -> None:
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
        if not path.is_symlink() and mode & 0o077:
            path.chmod(mode & PRIVATE_FOLDER)


def _replace(path: Path, content: bytes, mode: int) -> None:
    fresh = _beside(path)
    try:
        _write_new(fresh, content, mode)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Return a unique name in the same folder."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Create a file: complete and on the disk when this returns, or absent."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _give_name(fresh: Path, path: Path, content: bytes) -> None:
    """Give a file its second name, which only one process gets, over NFS too."""
    try:
        os.link(fresh, path)
    except FileExistsError:
        if fresh.stat().st_nlink != 2:  # else it was done, and the server was asked once more
            raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _write_new(path, content, PRIVATE_FILE)


def sync_folder(folder: Path) -> None:
    """Make the names in it durable: POSIX keeps them only when the folder itself is synced."""
    _sync(folder)


@contextmanager
def synced_tree(top: Path, *, on_file: Callable[[], object] = lambda: None) -> Iterator[None]:
    """At the end of the block the disk has all files and folders that were created below the folder ``top`` in it.

    ``on_file`` is called before each file that is synced on its own; an exception of it ends the call.

    Raises:
        OSError: the disk has not taken all of it.
    """
    handle = os.open(
        top, os.O_RDONLY | os.O_CLOEXEC
    )  # open from before the first write: its errors are reported from here
    try:
        yield
        folders = list(os.walk(top, topdown=False))
        is_many = sum(len(files) for _, _, files in folders) >= MANY_FILES
        if is_many and is_synced_at_once(top, _mounts(), platform.release()):
            _sync_file_system(handle)
            return
        for parent, _, files in folders:
            for name in files:
                on_file()
                _sync(Path(parent, name))
            _sync(Path(parent))
    finally:
        os.close(handle)


def is_synced_at_once(folder: Path, mounts: str, release: str) -> bool:
    """Return whether ``syncfs`` does and reports for one file system what ``fsync`` does for each file, at a fraction of the cost.

    Linux reports the errors since 5.8 (man 2 syncfs), and what a server or a program does for a file system is not known.
    ``mounts``: /proc/self/mountinfo; ``release``: of the kernel.
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    if not hasattr(ctypes.CDLL(None), "syncfs") or found is None or (int(found[1]), int(found[2])) < (5, 8):
        return False
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split(" ")[2] == wanted:
            return kind.split(" ")[0] in LOCAL_FILE_SYSTEMS
    return False


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return ""


def _sync_file_system(handle: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(handle) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(error: OSError, where: Path | str, *, more: str = "") -> DiskError:
    """Convert an error of this computer's disk about ``where``. The remedy depends on the error; the caller may add ``more``."""
    remedy = "; ".join(part for part in (_what_helps(error), more) if part)
    which = f": {error.filename}" if isinstance(error.filename, str | os.PathLike) else ""
    return DiskError(f"cannot write below {Path(where).parent}: {error.strerror or error}{which}", remedy=remedy)


def download_error(error: OSError, where: Path | str) -> DiskError:
    """Convert an error of this computer's disk while results were downloaded."""
    return disk_error(error, where, more=STAYS_IN_BUCKET)


@contextmanager
def disk_errors_mapped(where: Path | str, *, more: str = "") -> Iterator[None]:
    """Inside, errors of the disk become a DiskError about ``where``; see ``disk_error``."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, where, more=more) from error


def require_folder(folder: Path, *, more: str = "") -> None:
    """Create the folder if it does not exist, and check that files can be created in it.

    Raises:
        DiskError: it cannot be created or written to.
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
        return "another file is in the place of a folder or file of opensees-hpc: move it away"
    if error.errno == errno.ENAMETOOLONG:
        return "choose a folder with a shorter path"
    return "choose a folder that you may write to"


def remove_tree(folder: Path) -> None:
    """Remove a folder; if its rights forbid that, change them first."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except PermissionError:
        _open_up(folder)
        shutil.rmtree(folder)


def _open_up(folder: Path) -> None:
    """Give the owner all rights in a folder and in those below it; links are not followed."""
    folder.chmod(stat.S_IRWXU)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _open_up(Path(entry.path))
