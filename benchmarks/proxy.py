"""A TCP proxy on loopback that delays, counts and cuts: a network to measure on, and to break."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
_PIECE_BYTES = 1 << 16


@dataclass(kw_only=True)
class Proxy:
    """Passes connections on to ``port``. Every byte arrives ``delay_s`` later, in either direction, and none waits for another.

    ``cut_after_bytes``: the next connection is cut when so many bytes have come through it, both ways together; then None again.
    """

    port: int
    delay_s: float = 0.0
    cut_after_bytes: int | None = None
    bytes_passed: int = 0
    connections: int = 0
    own_port: int = 0
    refuses: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None

    async def serve(self) -> asyncio.Server:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve_one, "127.0.0.1", self.own_port)
        self.own_port = server.sockets[0].getsockname()[1]
        return server

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuses:
            writer.transport.abort()
            return
        self._writers.add(writer)  # whoever sees that it is counted can cut it
        cut, self.cut_after_bytes = self.cut_after_bytes, None
        # The end of the proxy cancels this task, and the streams' own callback does not like to hear of it.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._pass_on(reader, writer, cut)
        self._writers.discard(writer)
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int | None) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.port)
        if writer.is_closing():  # cut meanwhile
            there_writer.close()
            return
        self._writers.add(there_writer)
        passage = _Passage(proxy=self, left=cut, cut=lambda: abort_all((writer, there_writer)))
        try:
            await asyncio.gather(passage.carry(reader, there_writer), passage.carry(there_reader, writer))
        finally:
            there_writer.close()
            self._writers.discard(there_writer)

    def cut_all(self) -> None:
        """Cut every connection that is there now. Returns when that is done. From any thread but the proxy's own."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result()

    async def _cut_all(self) -> None:
        abort_all(list(self._writers))


def abort_all(writers: Iterable[asyncio.StreamWriter]) -> None:
    """Drop connections without a goodbye."""
    for writer in writers:
        writer.transport.abort()


@dataclass(kw_only=True)
class _Passage:
    proxy: Proxy
    left: int | None
    cut: Callable[[], object]

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(_PIECE_BYTES):
                self.proxy.bytes_passed += len(piece)
                if self.left is not None:
                    piece = piece[: self.left]
                    self.left -= len(piece)
                if self.proxy.delay_s:
                    loop.call_later(self.proxy.delay_s, self._deliver, writer, piece)
                else:
                    self._deliver(writer, piece)
                    await writer.drain()
                if self.left == 0:
                    loop.call_later(self.proxy.delay_s, self.cut)
                    return
        if self.proxy.delay_s:
            await asyncio.sleep(self.proxy.delay_s)
        writer.close()

    @staticmethod
    def _deliver(writer: asyncio.StreamWriter, piece: bytes) -> None:
        if not writer.is_closing():
            writer.write(piece)


@contextlib.contextmanager
def run_proxy(port: int, *, delay_s: float = 0.0) -> Iterator[Proxy]:
    """Run a proxy in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = Proxy(port=port, delay_s=delay_s)
    server = asyncio.run_coroutine_threadsafe(proxy.serve(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_close(server, proxy), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(server: asyncio.Server, proxy: Proxy) -> None:
    server.close()
    await proxy._cut_all()
    own = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not own]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
