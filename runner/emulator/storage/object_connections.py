"""Our side of the object store's gate (``object_gate``): start it, and speak HTTP through the connections that it hands out."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import httpcore
import httpx

GATE_SCRIPT = Path(__file__).with_name("object_gate.py")
_KEPT = 16


class Gate:
    """The running gate in front of the object store. ``is_closed``: no other user of this computer can reach the store."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket, *, is_closed: bool) -> None:
        self.process = process
        self.is_closed = is_closed
        self._control = control
        self._asking = asyncio.Lock()

    async def connect(self) -> socket.socket:
        """Return a connection to the object store.

        Raises:
            OSError: it takes none, or is gone.
        """
        asking = asyncio.ensure_future(self._ask())
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(_close_unwanted)
            raise

    async def _ask(self) -> socket.socket:
        """Read a complete answer, or the next caller would get the rest of this one."""
        async with self._asking:
            await asyncio.get_running_loop().sock_sendall(self._control, b"c")
            return await self._receive()

    async def _receive(self) -> socket.socket:
        while True:
            with suppress(BlockingIOError):
                said, descriptors, _flags, _address = socket.recv_fds(self._control, 1, 1)
                if said == b"c" and descriptors:
                    return socket.socket(fileno=descriptors[0])
                raise ConnectionRefusedError("the object store takes no connection")
            await _wait_readable(self._control)

    async def end(self) -> None:
        """End the store, and the program with it. Idempotent."""
        self._control.close()
        await self.process.wait()


async def start_gate(command: Sequence[str], port: int, log: IO[bytes], *, is_closed: bool) -> Gate | None:
    """Start the object store behind its gate, in a network of its own if it ``is_closed``; None if it cannot have one."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    mode = "closed" if is_closed else "open"
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(GATE_SCRIPT), str(theirs.fileno()), mode, str(port), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                umask=0o077,
            )
    except BaseException:
        ours.close()
        raise
    gate, is_up = Gate(process, ours, is_closed=is_closed), False
    try:
        is_up = await asyncio.get_running_loop().sock_recv(ours, 1) == b"u"
    finally:
        if not is_up:
            await gate.end()
    return gate if is_up else None


class GateTransport(httpx.AsyncHTTPTransport):
    """HTTP through connections of a gate, whatever host the URL has."""

    def __init__(self, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        super().__init__()
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=None, max_keepalive_connections=_KEPT, network_backend=_Backend(connect)
        )


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            connection = await self._connect()
            return _Stream(*await asyncio.open_connection(sock=connection))
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._writer.write(buffer)
            await self._writer.drain()
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        self._writer.close()

    def get_extra_info(self, info: str) -> object:
        """Return connection details; by ``is_readable`` the pool sees that the other side has closed."""
        if info == "is_readable":
            return self._reader.at_eof()
        return self._writer.get_extra_info(info)


def _close_unwanted(asking: asyncio.Future[socket.socket]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().close()


async def _wait_readable(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(channel, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(channel)
