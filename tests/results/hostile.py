"""Archives as a hostile VM may write them: small, but each of them is huge for a reader that trusts it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping

import zstandard

from tests.support.bucket import crc32c

ZEROS = bytes(1 << 20)
HUGE_BYTES = 1 << 30


def _header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


def _file(name: str, content: bytes) -> bytes:
    return _header(name, tarfile.REGTYPE, len(content)) + content + bytes(-len(content) % 512)


def _zeros(size: int) -> Iterator[bytes]:
    for _ in range(size // len(ZEROS)):
        yield ZEROS


def _huge(name: str, kind: bytes) -> Iterator[bytes]:
    yield _header(name, kind, HUGE_BYTES)
    yield from _zeros(HUGE_BYTES)
    yield _file("good", b"1")


def _repeated(block: bytes, count: int) -> Iterator[bytes]:
    for _ in range(count // 1000):
        yield block * 1000
    yield _file("good", b"1")


def _sparse() -> Iterator[bytes]:
    block = bytearray(_header("good", tarfile.GNUTYPE_SPARSE, 1))
    block[482] = 1  # its map goes on in the next block, and so do they all
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    yield bytes(block)
    more = bytes(504) + b"\1" + bytes(7)
    yield from (more * 2048 for _ in range(512))


PLAIN: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "a long name of 1 GiB": lambda: _huge("././@LongLink", tarfile.GNUTYPE_LONGNAME),
    "a long link of 1 GiB": lambda: _huge("././@LongLink", tarfile.GNUTYPE_LONGLINK),
    "a pax header of 1 GiB": lambda: _huge("pax", tarfile.XHDTYPE),
    "a global pax header of 1 GiB": lambda: _huge("pax", tarfile.XGLTYPE),
    "a file of 1 GiB for one of 1 byte": lambda: _huge("good", tarfile.REGTYPE),
    "a million folders": lambda: _repeated(_header("folder/", tarfile.DIRTYPE, 0), 1_000_000),
    "a hundred thousand long names": lambda: _repeated(
        _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 5) + b"name\0" + bytes(507), 100_000
    ),
    "a sparse file with a map of 1 GiB": _sparse,
    "the same file a million times": lambda: _repeated(_file("good", b"1"), 1_000_000),
    "a GiB of zeros after the end": lambda: iter([_file("good", b"2"), bytes(1024), *_zeros(HUGE_BYTES)]),
}


def pack_hostile(kind: str) -> bytes:
    """The archive of this kind: one of ``PLAIN``, or the one with a window of 1 GiB."""
    if kind not in PLAIN:
        return _wide_window(_file("good", b"1") + bytes(1024))
    packed = io.BytesIO()
    with zstandard.ZstdCompressor(level=1).stream_writer(packed, closefd=False) as stream:
        for piece in PLAIN[kind]():
            stream.write(piece)
    return packed.getvalue()


def _wide_window(content: bytes) -> bytes:
    """A frame of one block as it is, that asks its reader to keep 1 GiB."""
    descriptor, window = 0, (30 - 10) << 3
    last_raw_block = (len(content) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor, window]) + last_raw_block + content


KINDS = (*PLAIN, "a window of 1 GiB")


def manifest_of(packed: bytes) -> dict[str, object]:
    """A manifest that knows one file of one byte, ``good``."""
    archive = {"size": len(packed), "crc32c": crc32c(packed)}
    return {"format": 1, "archive": archive, "files": [{"path": "good", "size": 1, "crc32c": crc32c(b"1")}]}
