"""The members of a tar in zstd that a hostile VM may have written, read one after the other in bounded memory.

Python's ``tarfile`` reads headers of any length, keeps every member that it has seen, and recurses for each header
that describes the next one. Our VMs write only regular files, each after a long-name header at most; everything else is refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BLOCK_BYTES = tarfile.BLOCKSIZE
CHUNK_BYTES = 1 << 18
MOST_NAME_BYTES = 4096  # PATH_MAX of Linux, on which the names were created
WINDOW_BYTES = 8 << 20  # what every reader of zstd should be able to hold; ours needs 2 MiB
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)


class ForeignArchiveError(Exception):
    """The archive is not one that our VMs write."""


class Source(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file: name (surrogate escapes for bytes that are no UTF-8), size in bytes, whether it may be executed."""

    name: str
    size: int
    is_executable: bool


class Content:
    """The content of one member, which can be read until the next one is requested."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._left = size

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; none at the end.

        Raises:
            ForeignArchiveError: the archive ends before.
        """
        data = _read_exactly(self._source, min(size, self._left))
        self._left -= len(data)
        return data


@contextmanager
def opened_archive(archive: Path) -> Iterator[Iterator[tuple[Member, Content]]]:
    """Open an archive; yield its members with their contents.

    Raises (also while they are read):
        ForeignArchiveError: the rest of it cannot be read.
        OSError: the file cannot be read.
    """
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    try:
        with archive.open("rb") as packed, reader.stream_reader(packed) as plain:
            yield read_members(plain)
    except zstandard.ZstdError as error:
        raise ForeignArchiveError(str(error)) from error


def read_members(source: Source) -> Iterator[tuple[Member, Content]]:
    """Yield the members of a tar.

    Raises:
        ForeignArchiveError: it has something that our VMs do not write, or its end is missing.
    """
    long_name = None
    while (header := _read_header(source)) is not None:
        if header.type == tarfile.GNUTYPE_LONGNAME and long_name is None:
            long_name = _read_long_name(source, header.size)
            continue
        name = header.name if long_name is None else long_name
        if header.type not in REGULAR:
            raise ForeignArchiveError(f"refused: {name[:MOST_NAME_BYTES]!r} is not a regular file")
        content = Content(source, header.size)
        yield _as_member(header, name), content
        while content.read(CHUNK_BYTES):
            pass  # skip what was not read
        _read_exactly(source, -header.size % BLOCK_BYTES)
        long_name = None


def _as_member(header: tarfile.TarInfo, name: str) -> Member:
    return Member(name=name, size=header.size, is_executable=bool(header.mode & 0o100))


def _read_header(source: Source) -> tarfile.TarInfo | None:
    """Read the next header; None at the mark of the archive's end."""
    block = _read_exactly(source, BLOCK_BYTES)
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if block.count(0) == BLOCK_BYTES:
            return None
        raise ForeignArchiveError(str(error)) from error
    if header.size < 0:
        raise ForeignArchiveError(f"refused: {header.name!r} has {header.size} bytes")
    return header


def _read_long_name(source: Source, size: int) -> str:
    """Read the content of a header that is the next one's name, and ends with a zero byte."""
    if size > MOST_NAME_BYTES + 1:
        raise ForeignArchiveError(f"refused: a name of {size} bytes")
    content = _read_exactly(source, size + -size % BLOCK_BYTES)[:size]
    return content.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _read_exactly(source: Source, size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        piece = source.read(size - len(pieces))
        if not piece:
            raise ForeignArchiveError("its end is missing")
        pieces += piece
    return bytes(pieces)
