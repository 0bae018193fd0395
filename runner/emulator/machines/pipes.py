"""The two directions between a process's standard streams and an SSH channel, each with its own back pressure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol


class Throttle(Protocol):
    """Something that can be told to send less for a while."""

    def pause_reading(self) -> None:
        """Send nothing until told."""

    def resume_reading(self) -> None:
        """Go on."""


class Outlet(asyncio.Protocol):
    """What a process prints, handed on as it comes. ``ended`` is done at its end of file."""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, fd: int) -> None:
        """Begin to read. The descriptor is ours from now on."""
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, os.fdopen(fd, "rb", 0))
        self.transport: asyncio.ReadTransport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on."""
        self._deliver(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """End of file, or (a terminal's way of saying it) an I/O error."""
        if not self.ended.done():
            self.ended.set_result(None)

    def pause_reading(self) -> None:
        """Let the process wait."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Let the process go on."""
        if not self.transport.is_closing():
            self.transport.resume_reading()


class Inlet(asyncio.BaseProtocol):
    """What a process is to read. Slow readers pause the source; what comes before it is open is kept."""

    def __init__(self, source: Throttle) -> None:
        self._source = source
        self._early: list[bytes] = []
        self._eof = False
        self._transport: asyncio.WriteTransport | None = None

    async def open(self, fd: int) -> None:
        """Begin to write. The descriptor is ours from now on."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_write_pipe(lambda: self, os.fdopen(fd, "wb", 0))
        self._transport.writelines(self._early)
        self._early.clear()
        if self._eof:
            self._transport.write_eof()

    def write(self, data: bytes) -> None:
        """Write, or keep until there is somewhere to write to. What a process that reads no more should have read is lost."""
        if self._transport is None:
            self._early.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        """No more will come."""
        self._eof = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Stop at once, whatever is still unwritten. A transport that is closing with nothing left to write must not be told twice."""
        transport = self._transport
        if transport is not None and (transport.get_write_buffer_size() or not transport.is_closing()):
            transport.abort()

    def pause_writing(self) -> None:
        """The process is slow."""
        self._source.pause_reading()

    def resume_writing(self) -> None:
        """The process has caught up.

        The source may go on, and end, at once. A pipe transport that is told of an end while it tells us to resume drops what came with it
        (its ``_write_ready`` looks at ``_closing`` but not again at the buffer), so the source is resumed only after that.
        """
        asyncio.get_running_loop().call_soon(self._source.resume_reading)

    def connection_lost(self, _error: Exception | None) -> None:
        """The process reads no more: take and drop the rest, so that the client is not stuck."""
        self._source.resume_reading()
