"""The archive of a result set: tar in zstd, written as a stream, with the size and CRC32C of every file in it.

The same files give the same bytes, so that a repeated push can recognize its own archive. Nothing is
written to the disk, which may be full. The manifest describes what was packed, even if a file changed meanwhile.
"""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import google_crc32c
import zstandard

from .job_files import GONE, OUTSIDE, UNREADABLE, Skipped, describe_names, why_not_read

FORMAT = 1
IN_MEMORY_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20
COMPRESSION_LEVEL = 3


class Sink(Protocol):
    """Where the bytes of an archive go."""

    def write(self, data: bytes, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Size in bytes, CRC32C as Google writes it (base64 of four bytes, big-endian)."""

    size: int
    crc32c: str


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The contents of an archive."""

    archive: Checked
    files: dict[str, Checked]
    skipped: tuple[Skipped, ...]

    def manifest(self, end: dict[str, Any] | None = None) -> bytes:
        """Return JSON in ASCII, with ``end`` if given. Bytes of a name that are not UTF-8 appear as ``\\udc80`` to ``\\udcff`` (surrogateescape)."""
        files = [{"path": path, "size": item.size, "crc32c": item.crc32c} for path, item in self.files.items()]
        values: dict[str, Any] = {"format": FORMAT, "archive": vars(self.archive), "files": files}
        if end is not None:
            values["end"] = end
        if self.skipped:
            values["skipped"] = describe_names(self.skipped)
        return json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode("ascii")


class Checksum:
    """Size and CRC32C of the bytes written to it, which it passes on to a sink if there is one."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink
        self._crc32c = google_crc32c.Checksum()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._crc32c.update(bytes(data))
        self._size += len(data)
        if self._sink is not None:
            self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: no bytes are buffered."""

    def result(self) -> Checked:
        return Checked(size=self._size, crc32c=base64.b64encode(self._crc32c.digest()).decode("ascii"))


class FixedLengthReader:
    """A file of which exactly ``size`` bytes are read, as tar needs: further bytes are ignored, missing ones are zeros."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size
        self.checksum = Checksum()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        data += bytes(wanted - len(data))
        self._left -= wanted
        self.checksum.write(data)
        return data


def pack_files(folder: Path, paths: Iterable[str], skipped: Iterable[Skipped], sink: Sink | None) -> Packed:
    """Pack the files of ``folder`` into ``sink`` (None: only count). A file that cannot be read is recorded as skipped."""
    whole = Checksum(sink)
    files: dict[str, Checked] = {}
    left_out = list(skipped)
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True)
    with (
        compressor.stream_writer(cast(IO[bytes], whole), closefd=False) as stream,
        tarfile.open(
            fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar,
    ):
        for path in paths:
            try:
                with open_regular(folder, path) as file:
                    files[path] = add_file(tar, path, file)
            except FileNotFoundError:
                left_out.append(Skipped(path=path, reason=GONE))
            except ForeignError as error:
                left_out.append(Skipped(path=path, reason=str(error)))
            except UnreadableError as error:
                left_out.append(Skipped(path=path, reason=f"{UNREADABLE}: {error}", is_loss=True))
    return Packed(archive=whole.result(), files=files, skipped=tuple(left_out))


class UnreadableError(Exception):
    """A file could not be opened, or its first bytes could not be read. None of it has gone into the archive."""


class ForeignError(Exception):
    """A name leads to a file that is not the job's."""


def open_regular(folder: Path, path: str) -> IO[bytes]:
    """Open a regular file of the job and nothing else, whatever has taken its name since it was listed; a pipe must not block.

    Raises:
        FileNotFoundError, UnreadableError, ForeignError: it does not exist, cannot be read, is not the job's.
    """
    try:
        handle = os.open(folder / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(error.strerror) from error
    reason = why_not_read(os.fstat(handle), folder.stat()) or _why_outside(handle, folder)
    if not reason:
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise ForeignError(reason)


def _why_outside(handle: int, folder: Path) -> str:
    """Return an empty string for a file inside ``folder``: no link can change where Linux says that an open file is."""
    try:
        where = Path(f"/proc/self/fd/{handle}").readlink()
    except OSError:  # not Linux: the listing has checked the links
        return ""
    return "" if where.is_relative_to(folder.resolve()) else OUTSIDE


def add_file(tar: tarfile.TarFile, path: str, file: IO[bytes]) -> Checked:
    """Add a member: contents, time in whole seconds and the executable bit. Owners mean nothing on another computer."""
    status = os.fstat(file.fileno())
    try:
        head = file.read(IN_MEMORY_BYTES) if status.st_size <= IN_MEMORY_BYTES else None
    except OSError as error:
        raise UnreadableError(error.strerror) from error
    member = tarfile.TarInfo(path)
    member.size = status.st_size if head is None else len(head)
    member.mtime = int(status.st_mtime)
    member.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    if head is None:
        reader = FixedLengthReader(file, member.size)
        tar.addfile(member, reader)
        return reader.checksum.result()
    return _add_bytes(tar, member, head)


def _add_bytes(tar: tarfile.TarFile, member: tarfile.TarInfo, head: bytes) -> Checked:
    tar.addfile(member, io.BytesIO(head))
    checksum = Checksum()
    checksum.write(head)
    return checksum.result()
