"""The owner of a journal: a process, described so exactly that no other can be mistaken for it, and the lock that only one can hold.

The lock is the kernel's (``flock``): it ends with its process, however that ends. The record in the lock file names the owner, and
is all that counts where a file system has no locks.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from runner.errors import DiskError, InputError
from runner.model.journal_state import JournalState, Owner, read_owner
from runner.system.file_lock import FileLock

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MACHINE_ID = Path("/etc/machine-id")
PID_NAMESPACE = Path("/proc/self/ns/pid")
READERS_LIMIT_S = 1.0  # a process that only looks holds the lock for a moment
CLOCK_SLACK_S = 2.0  # of the time at which a process started, as the system reports it
_LOOK_S = 0.01


def describe_this_process() -> Owner:
    """Describe this process as an owner."""
    import psutil

    return Owner(
        user=_user(),
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        boot_id=_boot_id(),
        machine_id=_machine_id(),
        pid_namespace=_pid_namespace(),
    )


def gone_clients(journal: JournalState) -> frozenset[str]:
    """Return all processes that ever owned a journal and are known to be gone, as ``Lease.is_held_by`` takes them."""
    owners = [read_owner(record.facts.get("owner")) for record in journal.records]
    gone = [owner for owner in owners if owner is not None and is_known_gone(owner)]
    if journal.owner is not None and journal.is_owner_gone:
        gone.append(journal.owner)
    return frozenset(name for owner in gone for name in (owner.identity, str(owner)))


def is_known_gone(owner: Owner) -> bool:
    """Return whether it is certain that a process has ended: observed here and now, not inferred from the folder of its record.

    It is never certain of a process on another computer, or in another container on this one.
    """
    here = describe_this_process()
    if not owner.is_on_computer_of(here):
        return False
    if owner.boot_id != here.boot_id:
        return True
    return _is_numbered_here(owner) and not is_process_alive(owner)


def is_process_alive(owner: Owner) -> bool:
    """Return whether this very process still runs here: same computer, same boot, same number, same start."""
    import psutil

    if (owner.machine_id, owner.boot_id) != (_machine_id(), _boot_id()) or not _is_numbered_here(owner):
        return False
    try:
        process = psutil.Process(owner.pid)
        is_it = abs(process.create_time() - owner.process_started) <= CLOCK_SLACK_S
        return bool(is_it and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return _is_hidden(owner.pid)


def _is_numbered_here(owner: Owner) -> bool:
    """Return whether its number is valid here; older versions did not record its namespace."""
    return owner.pid_namespace in ("", _pid_namespace())


def _is_hidden(pid: int) -> bool:
    """Return whether the process exists after all: /proc may hide those of other users."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


class OwnerLock:
    """The right to run one journal, held until it is released or the process ends."""

    def __init__(self, owner: Owner, lock: FileLock) -> None:
        self.owner = owner
        self._lock = lock

    @classmethod
    def take(cls, path: Path, owner: Owner, journal: str) -> OwnerLock:
        """Become the owner of ``journal``.

        Raises:
            InputError: another process owns it; the error names it.
            DiskError: the owner's record cannot be written, for example because the disk is full.
        """
        try:
            lock = FileLock.of_file(path)
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            if not _try_for_a_while(lock):
                holder = _read_record(lock)
                raise InputError(
                    f"{journal} is being run by {holder or 'another process'}",
                    remedy="wait until that process has ended, or end it; everything it created can be taken over then",
                )
            owner = replace(owner, lock=_name_file(os.fstat(lock.handle)))
            _write_record(lock, owner)
        except BaseException:
            lock.release()
            raise
        return cls(owner, lock)

    def release(self) -> None:
        """Release it for others. A second call is harmless."""
        self._lock.release()


def is_lock_of(path: Path, owner: Owner) -> bool:
    """Return whether this is the file whose lock an owner holds while it owns its journal, and not a copy of it."""
    try:
        return owner.lock == _name_file(path.stat())
    except OSError:
        return False


def _name_file(about: os.stat_result) -> str:
    return f"{about.st_dev}:{about.st_ino}"


def is_owned(path: Path) -> bool:
    """Return whether a living process holds this lock."""
    try:
        lock = FileLock.of_existing(path)
    except OSError:
        return False
    with lock:
        return not _try_lock(lock, is_shared=True)


def _try_for_a_while(lock: FileLock) -> bool:
    until = time.monotonic() + READERS_LIMIT_S
    while not _try_lock(lock):
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def _try_lock(lock: FileLock, *, is_shared: bool = False) -> bool:
    """Take the lock unless another process holds it; return whether it is ours."""
    try:
        return lock.try_acquire(is_shared=is_shared)
    except OSError:
        holder = _read_record(lock)  # a file system without locks
    return holder is None or not is_process_alive(holder)


def _read_record(lock: FileLock) -> Owner | None:
    try:
        return read_owner(json.loads(os.pread(lock.handle, 4096, 0)))
    except (OSError, ValueError, RecursionError):
        return None


def _write_record(lock: FileLock, owner: Owner) -> None:
    with _mapped(lock.path):
        os.ftruncate(lock.handle, 0)
        content = json.dumps(asdict(owner)).encode()
        if os.pwrite(lock.handle, content, 0) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(lock.handle)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"the journal cannot be written, so nothing may be created: {path}: {error.strerror or error}",
        remedy="make room on that disk, or set OPENSEES_HPC_HOME to a folder that can be written to",
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _boot_id() -> str:
    import psutil

    return _read(BOOT_ID) or f"booted-{psutil.boot_time():.0f}"


def _pid_namespace() -> str:
    try:
        return str(PID_NAMESPACE.readlink())
    except OSError:
        return ""


def _machine_id() -> str:
    return _read(MACHINE_ID) or f"{uuid.getnode():012x}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
