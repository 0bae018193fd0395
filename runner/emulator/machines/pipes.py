"""The two directions between a process's standard streams and an SSH channel, each with its own back pressure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol


class Throttle(Protocol):
    """A source that can be paused."""

    def pause_reading(self) -> None:
        """Stop sending until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Continue sending."""


class OutputPipe(asyncio.Protocol):
    """Passes on a process's output as it arrives. ``ended`` is done at the end of file."""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, fd: int) -> None:
        """Start reading, and take over the descriptor."""
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, os.fdopen(fd, "rb", 0))
        self.transport: asyncio.ReadTransport = transport

    def data_received(self, data: bytes) -> None:
        """Pass the data on."""
        self._deliver(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """Note the end of file, which a terminal reports as an I/O error."""
        if not self.ended.done():
            self.ended.set_result(None)

    def pause_reading(self) -> None:
        """Pause the process's output."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume the process's output."""
        if not self.transport.is_closing():
            self.transport.resume_reading()


class InputPipe(asyncio.BaseProtocol):
    """Passes on a process's input. A slow process pauses the source; data that arrives before ``open`` is kept."""

    def __init__(self, source: Throttle) -> None:
        self._source = source
        self._early: list[bytes] = []
        self._eof = False
        self._transport: asyncio.WriteTransport | None = None

    async def open(self, fd: int) -> None:
        """Start writing, and take over the descriptor."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_write_pipe(lambda: self, os.fdopen(fd, "wb", 0))
        self._transport.writelines(self._early)
        self._early.clear()
        if self._eof:
            self._transport.write_eof()

    def write(self, data: bytes) -> None:
        """Write, or keep the data until ``open``. Data for a process that has stopped reading is lost."""
        if self._transport is None:
            self._early.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        """Signal the end of the input."""
        self._eof = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close at once, and drop unwritten data. A transport that is closing with nothing left to write must not be closed twice."""
        transport = self._transport
        if transport is not None and (transport.get_write_buffer_size() or not transport.is_closing()):
            transport.abort()

    def pause_writing(self) -> None:
        """Pause the source: the process reads slowly."""
        self._source.pause_reading()

    def resume_writing(self) -> None:
        """Resume the source: the process has caught up.

        The source may send more, and end, at once. A pipe transport that gets the end of input during this call drops the data before it
        (its ``_write_ready`` checks ``_closing`` but not the buffer again), so the source is resumed only after this call.
        """
        asyncio.get_running_loop().call_soon(self._source.resume_reading)

    def connection_lost(self, _error: Exception | None) -> None:
        """Accept and drop further input, since the process has stopped reading, so that the client does not block."""
        self._source.resume_reading()
