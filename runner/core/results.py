"""A result set on its way home: the manifest, and unpacking the archive so that each file is checked and none escapes.

The names in an archive come from a remote machine: hostile until checked.
"""

from __future__ import annotations

import base64
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from runner.errors import CloudError

FORMAT = 1
CHUNK_BYTES = 1 << 20


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
    """Check ``archive`` and unpack it to ``into``, which is replaced as a whole or, after an error, left as it was.

    Raises:
        CorruptResultsError: a size, a CRC32C or the list of files is wrong, or a name is hostile.
    """
    found = checksum_file(archive)
    if found != manifest.archive:
        raise CorruptResultsError(f"{into.name}: the archive has {found}, the manifest says {manifest.archive}")
    temporary = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}."))
    try:
        _unpack(archive, manifest, temporary)
        temporary.chmod(0o755)
        if into.exists():
            shutil.rmtree(into)
        temporary.rename(into)
        _sync_folder(into.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


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

    missing = dict(manifest.files)
    with (
        archive.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as plain,
        tarfile.open(fileobj=plain, mode="r|", errors="surrogateescape") as tar,
    ):
        for member in tar:
            if member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or member.name not in missing:
                raise CorruptResultsError(f"refused: {member.name!r} in the archive is not in the manifest as a file")
            found = _write(content, folder / check_name(member.name), mode=0o755 if member.mode & 0o100 else 0o644)
            if found != missing.pop(member.name):
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


def _sync_folder(folder: Path) -> None:
    """Make the rename last: POSIX keeps it only when the folder itself is synced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
