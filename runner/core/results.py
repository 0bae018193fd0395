"""A result set on its way home: the manifest, and unpacking the archive so that each file is checked, none escapes, and all is on the disk.

The names in an archive come from a remote machine: hostile until checked.
"""

from __future__ import annotations

import base64
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from runner.core import files as disk
from runner.errors import CloudError, DiskError

FORMAT = 1
CANCELLED = "cancelled"
CHUNK_BYTES = 1 << 20
STAYS_IN_BUCKET = "nothing was deleted in the bucket, and what is missing is fetched again"


class CorruptResultsError(CloudError):
    """Results are not what their manifest says. Nothing was kept, nothing was deleted in the bucket."""


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

    ``end``: None if what was pushed was no job of the job manager.
    """

    archive: Checked
    files: Mapping[str, Checked]
    end: JobEnd | None = None


def read_manifest(values: Any) -> Manifest:
    """A manifest from its JSON values.

    Raises:
        CorruptResultsError: it is not one, or of a format that this version does not know.
    """
    try:
        if values["format"] != FORMAT:
            raise CorruptResultsError(f"result manifest of format {values['format']!r}; this version knows {FORMAT}")
        files = {str(item["path"]): _checked(item) for item in values["files"]}
        return Manifest(archive=_checked(values["archive"]), files=files, end=_end(values.get("end")))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptResultsError(f"the result manifest is damaged: {error!r}") from error


def unpack_archive(archive: Path, manifest: Manifest, into: Path) -> None:
    """Check ``archive`` and unpack it to the new folder ``into``: whole, checked and on the disk, or, after an error, not there.

    Raises:
        CorruptResultsError: a size, a CRC32C or the list of files is wrong, or a name is hostile.
        DiskError: this machine's disk is full or cannot be written.
    """
    found = checksum_file(archive)
    if found != manifest.archive:
        raise CorruptResultsError(f"the archive has {found}, the manifest says {manifest.archive}")
    try:
        into.mkdir()
    except OSError as error:
        raise disk_error(error, into) from error
    try:
        _unpack(archive, manifest, into)
        _sync_folders(into)
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError):
            raise disk_error(error, into) from error
        raise


def holds_files(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder has all the files of a manifest with the right contents; it may have more."""
    try:
        return all(checksum_file(folder / check_name(name)) == wanted for name, wanted in manifest.files.items())
    except OSError:
        return False


def disk_error(error: OSError, where: Path | str) -> DiskError:
    """What this machine's disk said while results came home, as one of ours."""
    return disk.disk_error(error, where, more=STAYS_IN_BUCKET)


def checksum_file(path: Path) -> Checked:
    """Size and CRC32C of a file."""
    with path.open("rb") as file:
        return copy_checked(file, None)


def copy_checked(source: IO[bytes], target: IO[bytes] | None) -> Checked:
    """Copy all of ``source`` to ``target`` (None: nowhere), taking size and CRC32C on the way."""
    import google_crc32c

    checksum, size = google_crc32c.Checksum(), 0
    while chunk := source.read(CHUNK_BYTES):
        checksum.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
    return Checked(size=size, crc32c=base64.b64encode(checksum.digest()).decode())


def check_name(name: str) -> PurePosixPath:
    """The relative path that ``name`` stands for.

    Raises:
        CorruptResultsError: it leads outside, or no file can have that name.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or path == PurePosixPath("."):
        raise CorruptResultsError(f"refused: a result file is named {name!r}")
    return path


def _unpack(archive: Path, manifest: Manifest, folder: Path) -> None:
    import zstandard

    try:
        with (
            archive.open("rb") as raw,
            zstandard.ZstdDecompressor().stream_reader(raw) as plain,
            tarfile.open(fileobj=plain, mode="r|", errors="surrogateescape") as tar,
        ):
            _unpack_members(tar, manifest, folder)
    except (zstandard.ZstdError, tarfile.TarError, EOFError, ValueError) as error:
        raise CorruptResultsError(f"the archive cannot be unpacked: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise CorruptResultsError(f"two files of the archive want the same place here: {error.filename!r}") from error


def _unpack_members(tar: tarfile.TarFile, manifest: Manifest, folder: Path) -> None:
    missing = dict(manifest.files)
    for member in tar:
        if member.isdir():
            continue
        wanted = missing.pop(member.name, None)
        content = tar.extractfile(member) if member.isreg() else None
        if content is None or wanted is None or member.size != wanted.size:
            raise CorruptResultsError(f"refused: {member.name!r} in the archive is not in the manifest as such a file")
        found = _write(content, folder / check_name(member.name), mode=0o755 if member.mode & 0o100 else 0o644)
        if found != wanted:
            raise CorruptResultsError(f"{member.name!r} arrived damaged: {found}")
    if missing:
        raise CorruptResultsError(f"missing in the archive: {', '.join(repr(name) for name in sorted(missing))}")


def _write(content: IO[bytes], path: Path, *, mode: int) -> Checked:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        found = copy_checked(content, file)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    return found


def sync_folder(folder: Path) -> None:
    """Make names in it last: POSIX keeps them only when the folder itself is synced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folders(top: Path) -> None:
    for parent, _, _ in os.walk(top, topdown=False):
        sync_folder(Path(parent))


def _checked(item: Mapping[str, Any]) -> Checked:
    return Checked(size=int(item["size"]), crc32c=str(item["crc32c"]))


def _end(item: Mapping[str, Any] | None) -> JobEnd | None:
    if item is None:
        return None
    code, core_s = item["exit_code"], item["core_s"]
    return JobEnd(
        how=str(item["how"]),
        exit_code=None if code is None else int(code),
        wall_s=float(item["wall_s"]),
        core_s=None if core_s is None else float(core_s),
    )
