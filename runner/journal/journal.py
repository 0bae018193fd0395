"""The journal: what a batch or bake is about to create, and what became of it, on the disk before anything else happens.

One file of JSON lines a session, below one folder a target. A record of an intent is on the disk before the act that it
announces; if it cannot be written, the act must not happen. ``runner.model.session`` says what the records mean.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from runner.errors import DiskError, InputError
from runner.journal.owner import (
    OwnerLock,
    describe_this_process,
    is_known_gone,
    is_lock_of,
    is_owned,
    is_process_alive,
)
from runner.model import names
from runner.model.session import Session, read_session
from runner.model.session_record import FORMAT, Record, decode_records, encode_record, is_end
from runner.system.files import create_private, make_private_folder
from runner.system.line_file import LineFile, read_last_line

SUFFIX = ".jsonl"
LOCK_SUFFIX = ".lock"


class NameTakenError(InputError):
    """There is, or was, a session of that name on this computer."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore(message: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The sessions of one target. ``on_trouble`` is called with what could not be written though nothing was at stake; commands write to the
    one of ``Context.reporting_journal``.
    """

    folder: Path
    now: Callable[[], datetime] = _utc_now
    on_trouble: Callable[[str], None] = _ignore

    def begin(self, name: str, kind: Literal["run", "bake"], **facts: Any) -> SessionState:
        """Open the journal of a new session, owned by this process.

        Raises:
            NameTakenError: there was a session of that name, or there is one now.
            DiskError: it cannot be written; nothing may be created.
        """
        try:
            lock = self._lock(name)
        except InputError as error:
            raise NameTakenError(error.message, remedy=error.remedy) from error
        try:
            begun = {"format": FORMAT, "session": kind, "name": name, "owner": asdict(lock.owner)}
            create_private(self._path(name), encode_record(Record(kind="begin", at=self.now(), facts=begun | facts)))
            return SessionState(self, name, lock)
        except FileExistsError as error:
            lock.release()
            raise NameTakenError(f"there is a journal of {name} already: {self._path(name)}") from error
        except OSError as error:
            lock.release()
            raise self.unwritable(name, error) from error
        except BaseException:
            lock.release()
            raise

    def resume(self, name: str) -> SessionState:
        """Take over a session whose owner is gone, ended or not.

        Raises:
            InputError: there is none, its owner is alive, or a newer version wrote it.
            DiskError: it cannot be written.
        """
        if not self._path(name).exists():
            raise InputError(f"there is no journal of {name} on this computer")
        lock = self._lock(name)
        try:
            found = self.read(name)
            if found is not None and found.format > FORMAT:
                raise InputError(f"{name} was begun by a newer version of opensees-hpc", remedy="use that version")
            state = SessionState(self, name, lock)
            state.write("owner", owner=asdict(lock.owner))
            return state
        except OSError as error:
            lock.release()
            raise self.unwritable(name, error) from error
        except BaseException:
            lock.release()
            raise

    def read(self, name: str) -> Session | None:
        """Read a session from its journal; None if there is none. What is wrong with a corrupt journal is in ``troubles``."""
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return Session(
                name=name, troubles=(f"the journal cannot be read: {self._path(name)}: {error.strerror or error}",)
            )
        session = read_session(name, *decode_records(content))
        return _look_for_owner(session, self._lock_path(name))

    def names(self) -> list[str]:
        """Return the sessions that were ever begun, sorted.

        Raises:
            DiskError: the folder is there and cannot be read.
        """
        try:
            with os.scandir(self.folder) as entries:
                found = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            remedy = "let it be a folder that you can read"
            raise DiskError(f"the journals cannot be read: {self.folder}: {error.strerror}", remedy=remedy) from error
        ours = (name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))
        return sorted(name for name in ours if names.is_batch_name(name))

    def open_sessions(self) -> list[Session]:
        """Return the sessions that have not ended. Of the others only the last line is read."""
        not_ended = (name for name in self.names() if not is_end(read_last_line(self._path(name))))
        found = [self.read(name) for name in not_ended]
        return [session for session in found if session is not None and not session.has_ended]

    def unwritable(self, name: str, error: OSError) -> DiskError:
        """Return the error of a record that could not be written."""
        return DiskError(
            f"the journal cannot be written, so nothing more may be created: {self._path(name)}: {error.strerror or error}",
            remedy="make room on that disk, or let OPENSEES_HPC_HOME be a folder that can be written to",
        )

    def open_file(self, name: str) -> LineFile:
        """Open the file of a session, for its owner."""
        return LineFile(self._path(name))

    def _lock(self, name: str) -> OwnerLock:
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise self.unwritable(name, error) from error
        return OwnerLock.take(self._lock_path(name), describe_this_process(), name)

    def _path(self, name: str) -> Path:
        return self.folder / f"{_checked(name)}{SUFFIX}"

    def _lock_path(self, name: str) -> Path:
        return self.folder / f"{_checked(name)}{LOCK_SUFFIX}"


def _look_for_owner(session: Session, lock: Path) -> Session:
    """Add what is known of a session's owner. The lock says it, but not that of a copy: then its process is looked for.

    A process that has left the session on purpose may go on with other things.
    """
    owner = session.owner
    if is_owned(lock):
        return replace(session, is_owner_alive=True)
    if owner is None or session.has_ended:
        return session
    is_copy = bool(owner.lock) and not is_lock_of(lock, owner)
    if is_copy and not session.is_detached and is_process_alive(owner):
        return replace(session, is_owner_alive=True)
    is_given_up = is_lock_of(lock, owner) and owner.is_on_machine_of(describe_this_process())
    return replace(session, is_owner_gone=is_given_up or is_known_gone(owner))


def _checked(name: str) -> str:
    """Check a session's name: it is a file's name here, and may come from a command line."""
    if not names.is_batch_name(name):
        raise InputError(f"{name!r} is not the name of a batch or bake")
    return name


class SessionState:
    """One session's journal, owned by this process; ``Journal`` opens it. Safe for several threads.

    Closing it gives the session up without ending it: whoever comes next finds it as it is.
    """

    def __init__(self, journal: Journal, name: str, lock: OwnerLock) -> None:
        self.name = name
        self._journal = journal
        self._owner_lock = lock
        self._writing = threading.Lock()
        self._held_back: list[bytes] = []
        self._file = journal.open_file(name)

    def intend(self, kind: str, name: str, zone: str = "", **facts: Any) -> None:
        """Record that this will be created now. Only if this returns may it be.

        Raises:
            DiskError: it could not be written.
        """
        try:
            self.write("intend", kind=kind, name=name, zone=zone, **facts)
        except OSError as error:
            raise self._journal.unwritable(self.name, error) from error

    def record(self, fact: str, /, **facts: Any) -> None:
        """Record what has happened. Never in the way: what cannot be written is reported, and written with the next record."""
        try:
            self.write(fact, **facts)
        except OSError as error:
            self._hold_back(fact, facts, error)

    def end(self, outcome: str) -> None:
        """Record that the session is over, with nothing left to be looked after."""
        self.record("end", outcome=outcome)

    def read(self) -> Session:
        """Read the session so far."""
        return self._journal.read(self.name) or Session(name=self.name)

    def close(self) -> None:
        """Give the session up, after a last try to write what could not be written. A second call is harmless."""
        with self._writing:
            lost = self._write_held_back()
            self._file.close()
        self._owner_lock.release()
        if lost:
            self._journal.on_trouble(
                f"the journal of {self.name} could not be written to its end ({lost}): the next command will take it for one "
                "that has not ended"
            )

    def _write_held_back(self) -> str:
        """Write what was held back; return why it could not be written, '' if nothing is missing any more."""
        if not self._held_back:
            return ""
        try:
            self._file.append(b"".join(self._held_back))
        except OSError as error:
            return error.strerror or str(error)
        finally:
            self._held_back.clear()
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, kind: str, /, **facts: Any) -> None:
        """Write a record, and before it those that could not be written earlier.

        Raises:
            OSError: it is not written.
        """
        line = self._encode(kind, facts)
        with self._writing:
            self._file.append(b"".join([*self._held_back, line]))
            self._held_back.clear()

    def _encode(self, kind: str, facts: dict[str, Any]) -> bytes:
        return encode_record(Record(kind=kind, at=self._journal.now(), facts=facts))

    def _hold_back(self, kind: str, facts: dict[str, Any], error: OSError) -> None:
        with self._writing:
            is_first = not self._held_back
            self._held_back.append(self._encode(kind, facts))
        if is_first:
            self._journal.on_trouble(f"the journal of {self.name} cannot be written now: {error.strerror or error}")
