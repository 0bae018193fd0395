"""A relay that cuts a connection after a number of bytes."""

from __future__ import annotations

import asyncio
import socket
import struct

CHUNK_BYTES = 16 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def relay_until(outer: socket.socket, inner: socket.socket, limit_bytes: int) -> None:
    """Relay up to ``limit_bytes`` between two sockets, both directions together, then reset and close both."""
    for end in (outer, inner):
        end.setblocking(False)
    budget = Budget(limit_bytes)
    tasks = [asyncio.create_task(pump(outer, inner, budget)), asyncio.create_task(pump(inner, outer, budget))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        outer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        outer.close()
        inner.close()


class Budget:
    """The number of bytes that may still pass, both directions together."""

    def __init__(self, left_bytes: int) -> None:
        self.left_bytes = left_bytes


async def pump(source: socket.socket, target: socket.socket, budget: Budget) -> None:
    """Relay bytes in one direction until the end, an error, or the end of the budget."""
    loop = asyncio.get_running_loop()
    while budget.left_bytes > 0:
        try:
            data = await loop.sock_recv(source, min(CHUNK_BYTES, budget.left_bytes))
            budget.left_bytes -= len(data)
            await loop.sock_sendall(target, data)
        except OSError:
            return
        if not data:
            return
