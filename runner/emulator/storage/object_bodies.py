"""Bodies of uploads: each is received completely before any of it is passed on, its end in memory and the rest on the disk.

The object store serves no other request while it reads a body, and whether an object may be written is checked once the body is here:
so a client that sends slowly, or stops, delays no other, and cannot choose a time between the check and the write.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from starlette.requests import Request

from runner.emulator.http import require_json
from runner.emulator.storage.object_requests import Act, ObjectRequest, name_in_body, read_sources
from runner.emulator.storage.object_store import out_of_order

IN_MEMORY_BYTES = 1024 * 1024
_PEEKED_BYTES = 64 * 1024


class Body:
    """A body that grows as it arrives. Its file on the disk has no name, and is gone when the block is left, or with the process."""

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._end = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    async def add(self, piece: bytes) -> None:
        """Write a piece. Raises CloudError if the disk is full."""
        self._end += piece
        self.size += len(piece)
        if len(self._end) >= IN_MEMORY_BYTES:
            try:
                await asyncio.to_thread(self._write_out)
            except OSError as error:
                raise out_of_order(str(error.strerror)) from error

    def _write_out(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by __exit__
        self._file.write(self._end)
        self._file.flush()
        self._end.clear()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield the body, once it is complete."""
        if self._file is not None:
            self._file.seek(0)
            while piece := await asyncio.to_thread(self._file.read, IN_MEMORY_BYTES):
                yield piece
        if self._end:
            yield bytes(self._end)


async def read_orders(request: Request, wanted: ObjectRequest) -> tuple[ObjectRequest, bytes]:
    """Return the request with what its JSON body adds, and the body to be passed on."""
    body = await request.body()
    require_json(request.headers.get("content-type", ""), body)
    if wanted.act is Act.COMPOSE:
        sources, body = read_sources(body, wanted.bucket)
        return replace(wanted, sources=sources), body
    return wanted, body


async def name_upload(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str], wanted: ObjectRequest, body: Body
) -> ObjectRequest:
    """Return the request with the name of its object, which may be at the start of an upload's body; read only as far as the name.

    Raises:
        CloudError: the body has no name.
    """
    start, name = b"", None
    upload_type, content_type = wanted.query["uploadType"], headers.get("content-type", "")
    async for piece in pieces:
        await body.add(piece)
        start += piece
        name = name_in_body(upload_type, content_type, start, is_whole=False)
        if name is not None or len(start) > _PEEKED_BYTES:
            break
    if name is None:
        name = name_in_body(upload_type, content_type, start, is_whole=True)
    return replace(wanted, name=name or "")
