"""The journals: what a batch or bake is about to create, and what happened to it, on the disk before anything else happens.

Each is a file of JSON lines, in one folder for each target. A record of an intent is on the disk before the act that it
announces; if it cannot be written, the act must not happen. ``runner.model.journal_state`` says what the records mean.
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
from runner.model.journal_record import FORMAT, Record, decode_records, encode_record, is_end
from runner.model.journal_state import JournalState, read_journal_state
from runner.system.files import create_private, make_private_folder
from runner.system.line_file import LineFile, read_last_line

SUFFIX = ".jsonl"
LOCK_SUFFIX = ".lock"


class NameTakenError(InputError):
    """A journal of that name exists, or existed, on this computer."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore(message: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Journals:
    """The journals of one target. ``on_trouble`` gets the message when a record could not be written that nothing depends on; commands use
    ``Context.reporting_journals``, which reports it.
    """

    folder: Path
    now: Callable[[], datetime] = _utc_now
    on_trouble: Callable[[str], None] = _ignore

    def begin(self, name: str, kind: Literal["run", "bake"], **facts: Any) -> Journal:
        """Open the journal of a new batch or bake, owned by this process.

        Raises:
            NameTakenError: a journal of that name exists, or existed.
            DiskError: it cannot be written; nothing may be created.
        """
        try:
            lock = self._lock(name)
        except InputError as error:
            raise NameTakenError(error.message, remedy=error.remedy) from error
        try:
            begun = {"format": FORMAT, "session": kind, "name": name, "owner": asdict(lock.owner)}
            create_private(self._path(name), encode_record(Record(kind="begin", at=self.now(), facts=begun | facts)))
            return Journal(self, name, lock)
        except FileExistsError as error:
            lock.release()
            raise NameTakenError(f"the journal of {name} already exists: {self._path(name)}") from error
        except OSError as error:
            lock.release()
            raise self.unwritable(name, error) from error
        except BaseException:
            lock.release()
            raise

    def resume(self, name: str) -> Journal:
        """Take over the journal of a batch or bake whose owner is gone, whether the journal has ended or not.

        Raises:
            InputError: it does not exist, its owner is alive, or a newer version wrote it.
            DiskError: it cannot be written.
        """
        if not self._path(name).exists():
            raise InputError(f"there is no journal of {name} on this computer")
        lock = self._lock(name)
        try:
            found = self.read(name)
            if found is not None and found.format > FORMAT:
                raise InputError(f"{name} was started by a newer version of opensees-hpc", remedy="use that version")
            journal = Journal(self, name, lock)
            journal.write("owner", owner=asdict(lock.owner))
            return journal
        except OSError as error:
            lock.release()
            raise self.unwritable(name, error) from error
        except BaseException:
            lock.release()
            raise

    def read(self, name: str) -> JournalState | None:
        """Read the journal of a batch or bake; None if there is none. ``troubles`` says what is wrong with a corrupt journal."""
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return JournalState(
                name=name, troubles=(f"the journal cannot be read: {self._path(name)}: {error.strerror or error}",)
            )
        journal = read_journal_state(name, *decode_records(content))
        return _look_for_owner(journal, self._lock_path(name))

    def names(self) -> list[str]:
        """Return the names of all journals, ended or not, sorted.

        Raises:
            DiskError: the folder exists, but cannot be read.
        """
        try:
            with os.scandir(self.folder) as entries:
                found = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            remedy = "make it a folder that you can read"
            raise DiskError(f"the journals cannot be read: {self.folder}: {error.strerror}", remedy=remedy) from error
        ours = (name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))
        return sorted(name for name in ours if names.is_batch_name(name))

    def open_journals(self) -> list[JournalState]:
        """Return the journals that have not ended. Of the others only the last line is read."""
        not_ended = (name for name in self.names() if not is_end(read_last_line(self._path(name))))
        found = [self.read(name) for name in not_ended]
        return [journal for journal in found if journal is not None and not journal.has_ended]

    def unwritable(self, name: str, error: OSError) -> DiskError:
        """Return the error of a record that could not be written."""
        return DiskError(
            f"the journal cannot be written, so nothing more may be created: {self._path(name)}: {error.strerror or error}",
            remedy="make room on that disk, or set OPENSEES_HPC_HOME to a folder that can be written to",
        )

    def open_file(self, name: str) -> LineFile:
        """Open the file of a journal, for its owner."""
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


def _look_for_owner(journal: JournalState, lock: Path) -> JournalState:
    """Add what is known of a journal's owner. Its lock shows it, except if the journal is a copy: then look for its process.

    A process that has detached from its batch may still run for other reasons.
    """
    owner = journal.owner
    if is_owned(lock):
        return replace(journal, is_owner_alive=True)
    if owner is None or journal.has_ended:
        return journal
    is_copy = bool(owner.lock) and not is_lock_of(lock, owner)
    if is_copy and not journal.is_detached and is_process_alive(owner):
        return replace(journal, is_owner_alive=True)
    is_given_up = is_lock_of(lock, owner) and owner.is_on_computer_of(describe_this_process())
    return replace(journal, is_owner_gone=is_given_up or is_known_gone(owner))


def _checked(name: str) -> str:
    """Check a journal's name: it is a file's name here, and may come from a command line."""
    if not names.is_batch_name(name):
        raise InputError(f"{name!r} is not the name of a batch or bake")
    return name


class Journal:
    """The journal of one batch or bake, owned by this process; ``Journals`` opens it. Safe for several threads.

    Closing it gives up the ownership without ending the batch: the next owner finds it as it is.
    """

    def __init__(self, journals: Journals, name: str, lock: OwnerLock) -> None:
        self.name = name
        self._journals = journals
        self._owner_lock = lock
        self._writing = threading.Lock()
        self._held_back: list[bytes] = []
        self._file = journals.open_file(name)

    def intend(self, kind: str, name: str, zone: str = "", **facts: Any) -> None:
        """Record that this will be created now. Create it only if this returns.

        Raises:
            DiskError: it could not be written.
        """
        try:
            self.write("intend", kind=kind, name=name, zone=zone, **facts)
        except OSError as error:
            raise self._journals.unwritable(self.name, error) from error

    def record(self, fact: str, /, **facts: Any) -> None:
        """Record what has happened. Never raises OSError: a record that cannot be written is reported, and written with the next one."""
        try:
            self.write(fact, **facts)
        except OSError as error:
            self._hold_back(fact, facts, error)

    def end(self, outcome: str) -> None:
        """Record that the batch or bake is over, and nothing of it is left to look after."""
        self.record("end", outcome=outcome)

    def read(self) -> JournalState:
        """Read the journal so far."""
        return self._journals.read(self.name) or JournalState(name=self.name)

    def close(self) -> None:
        """Give up the journal, after a last attempt to write what could not be written. A second call is harmless."""
        with self._writing:
            lost = self._write_held_back()
            self._file.close()
        self._owner_lock.release()
        if lost:
            self._journals.on_trouble(
                f"the last records of the journal of {self.name} could not be written ({lost}): the next command will treat it as "
                "not ended"
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
        return encode_record(Record(kind=kind, at=self._journals.now(), facts=facts))

    def _hold_back(self, kind: str, facts: dict[str, Any], error: OSError) -> None:
        with self._writing:
            is_first = not self._held_back
            self._held_back.append(self._encode(kind, facts))
        if is_first:
            self._journals.on_trouble(f"the journal of {self.name} cannot be written now: {error.strerror or error}")
