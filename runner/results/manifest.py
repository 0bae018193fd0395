"""The manifest of a result set, and unpacking its archive so that each file is checked, stays in its folder, and is on the disk.

The names in an archive come from a VM: hostile until checked.
"""

from __future__ import annotations

import base64
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from runner.errors import CloudError, DiskError
from runner.model.foreign import exit_code, optional, plain_text, real_number, shorten, whole_number
from runner.results.tar_stream import MOST_NAME_BYTES, Content, ForeignArchiveError, Member, opened_archive
from runner.system.files import download_error, synced_tree

FORMAT = 1
CANCELLED = "cancelled"
CHUNK_BYTES = 1 << 20
MOST_FOLDERS = 100  # above one file: Python removes a folder by recursion
# Errors of a name that is impossible here; they do not mean that the disk has no room.
IMPOSSIBLE_NAME = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP})
SHOWN_NAMES = 5
ENTRY_BYTES = 4096  # at most, of a small file or a folder
MOST_EXPANSION = 1 << 15  # of zstd: a block of 128 KiB of one repeated byte takes four


class CorruptResultsError(CloudError):
    """Results are not what their manifest says. Nothing was kept, nothing was deleted in the bucket."""


class NoRoomError(DiskError):
    """The disk has less room than one result set says that it needs. Others may still be downloaded."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A size in bytes, and a CRC32C as Google writes it: base64 of four bytes, big-endian."""

    size: int
    crc32c: str


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """How a job ended. ``how``: ended, cancelled or timeout, as ``hardware.remote_state.How`` has it; times in s."""

    how: str
    exit_code: int | None
    wall_s: float
    core_s: float | None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a result set consists of. Paths may hold surrogate escapes for bytes that are no UTF-8.

    ``end``: None if what was pushed was not a job of the job manager.
    """

    archive: Checked
    files: Mapping[str, Checked]
    end: JobEnd | None = None

    @property
    def unpacked_bytes(self) -> int:
        """The room that its files and their folders need on a disk, at most."""
        parents = {name.rpartition("/")[0] for name in self.files}
        entries = len(self.files) + sum(parent.count("/") + 1 for parent in parents)
        return sum(item.size for item in self.files.values()) + ENTRY_BYTES * entries


class Readable(Protocol):
    """A source of bytes: a file, or a member of an archive."""

    def read(self, size: int, /) -> bytes: ...


def read_manifest(values: Any) -> Manifest:
    """Read a manifest from its JSON values.

    Raises:
        CorruptResultsError: it is not one, or of a format that this version does not know.
    """
    try:
        if values["format"] != FORMAT:
            raise ValueError(f"it is of format {shorten(values['format'])}; this version knows {FORMAT}")
        files = {_path(item["path"]): _checked(item) for item in values["files"]}
        if len(files) != len(values["files"]):
            raise ValueError("it lists a file twice")
        archive = _checked(values["archive"])
        if sum(item.size for item in files.values()) > MOST_EXPANSION * archive.size:
            raise ValueError(f"its files do not fit into an archive of {archive.size} bytes")
        return Manifest(archive=archive, files=files, end=_end(values.get("end")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptResultsError(f"the result manifest is corrupt: {shorten(error)}") from error


def unpack_archive(
    archive: Path, manifest: Manifest, into: Path, *, on_file: Callable[[], object] = lambda: None
) -> None:
    """Check ``archive`` and unpack it to the new folder ``into``: complete, checked and on the disk, or, after an error, not there.

    ``on_file`` is called before each file; what it raises ends the call at once, and a part of the files stays in ``into``.

    Raises:
        CorruptResultsError: a size, a CRC32C or the list of files is wrong, or a name is hostile or impossible here.
        DiskError: this computer's disk is full or cannot be written.
    """
    found = checksum_file(archive)
    if found != manifest.archive:
        raise CorruptResultsError(f"the archive has {found}, the manifest says {manifest.archive}")
    try:
        into.mkdir()
    except OSError as error:
        raise download_error(error, into) from error
    try:
        with synced_tree(into, on_file=on_file):
            _unpack(archive, manifest, into, on_file)
    except (CorruptResultsError, OSError) as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError):
            raise download_error(error, into) from error
        raise


def holds_files(folder: Path, manifest: Manifest) -> bool:
    """Return whether a folder has all the files of a manifest with the right contents; it may have more."""
    try:
        return all(checksum_file(folder / check_name(name)) == wanted for name, wanted in manifest.files.items())
    except OSError:
        return False


def checksum_file(path: Path) -> Checked:
    """Return size and CRC32C of a file."""
    with path.open("rb") as file:
        return copy_checked(file, None)


def copy_checked(source: Readable, target: IO[bytes] | None) -> Checked:
    """Copy all of ``source`` to ``target`` (None: nowhere), and return its size and CRC32C."""
    import google_crc32c

    checksum, size = google_crc32c.Checksum(), 0
    while chunk := source.read(CHUNK_BYTES):
        checksum.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
    return Checked(size=size, crc32c=base64.b64encode(checksum.digest()).decode())


def check_name(name: str) -> PurePosixPath:
    """Return the relative path that ``name`` stands for.

    Raises:
        CorruptResultsError: it is outside the folder, or no file can have that name.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or path == PurePosixPath("."):
        raise CorruptResultsError(f"refused: a result file is named {name!r}")
    return path


def _unpack(archive: Path, manifest: Manifest, folder: Path, on_file: Callable[[], object]) -> None:
    missing = dict(manifest.files)
    try:
        with opened_archive(archive) as members:
            for member, content in members:
                on_file()
                _unpack_member(member, content, missing.pop(member.name, None), folder)
    except ForeignArchiveError as error:
        raise CorruptResultsError(f"the archive cannot be unpacked: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise CorruptResultsError(
            f"two files of the archive have the same path here: {shorten(str(error.filename))}"
        ) from error
    if missing:
        raise CorruptResultsError(f"missing in the archive: {_listed(missing)}")


def _unpack_member(member: Member, content: Content, wanted: Checked | None, folder: Path) -> None:
    if wanted is None or member.size != wanted.size:
        raise CorruptResultsError(
            f"refused: {shorten(member.name)} in the archive is not in the manifest as such a file"
        )
    try:
        found = _write(content, folder / check_name(member.name), mode=0o777 if member.is_executable else 0o666)
    except OSError as error:
        if error.errno not in IMPOSSIBLE_NAME:
            raise
        raise CorruptResultsError(f"{shorten(member.name)} cannot be unpacked here: {error.strerror}") from error
    if found != wanted:
        raise CorruptResultsError(f"{shorten(member.name)} arrived corrupt: {found}")


def _listed(names: Mapping[str, object]) -> str:
    shown = ", ".join(shorten(name) for name in sorted(names)[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown} and {len(names) - SHOWN_NAMES} more"


def _write(content: Content, path: Path, *, mode: int) -> Checked:
    """Create a new file, with the permissions that the user's umask leaves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        return copy_checked(content, file)


def _path(value: Any) -> str:
    """Read a path of a manifest. Names that no file of a VM can have are refused here, paths outside the folder when it is unpacked."""
    path = plain_text(value)
    if len(path.encode("utf-8", "surrogateescape")) > MOST_NAME_BYTES or path.count("/") > MOST_FOLDERS:
        raise ValueError(f"no result file can have such a name: {shorten(path)}")
    return path


def _checked(item: Mapping[str, Any]) -> Checked:
    return Checked(size=whole_number(item["size"]), crc32c=plain_text(item["crc32c"]))


def _end(item: Mapping[str, Any] | None) -> JobEnd | None:
    if item is None:
        return None
    return JobEnd(
        how=plain_text(item["how"]),
        exit_code=optional(exit_code, item["exit_code"]),
        wall_s=real_number(item["wall_s"]),
        core_s=optional(real_number, item["core_s"]),
    )
