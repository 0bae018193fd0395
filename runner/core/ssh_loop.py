"""One event loop in one background thread, so that plain functions can use asynchronous code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_JOIN_LIMIT_S = 10.0


class LoopThread:
    """Owns a loop and its thread. Calls may come from any thread but the loop's own. Close it, or use it in ``with``."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin ``work`` in the loop and return at once."""
        if self._loop.is_closed() or not self._thread.is_alive():
            work.close()
            raise RuntimeError("the connection is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and wait for it. An interrupt of the waiting thread (Ctrl-C) cancels the work."""
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs, stop the loop, join the thread. Does nothing the second time."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._wind_down()))
            self._thread.join(_JOIN_LIMIT_S)

    async def _wind_down(self) -> None:
        own = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_JOIN_LIMIT_S / 2) if tasks else None
        await self._loop.shutdown_asyncgens()
        self._loop.stop()
