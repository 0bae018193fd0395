"""One event loop in one background thread, so that plain functions can use asynchronous code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

T = TypeVar("T")

_JOIN_LIMIT_S = 10.0


class LoopClosedError(Exception):
    """The loop accepts no more work."""


class LoopThread:
    """Owns a loop and its thread. Calls may come from any thread but the loop's own. Close it."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``work`` in the loop and return at once.

        Raises: LoopClosedError.
        """
        with self._lock:
            if not self._closing:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise LoopClosedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and wait for it. An interrupt of the waiting thread (Ctrl-C) cancels the work.

        Raises: LoopClosedError, also if the loop is closed in the meantime.
        """
        future = self.start(work)
        try:
            return future.result()
        except CancelledError:
            raise LoopClosedError from None
        except BaseException:
            future.cancel()
            raise

    def close(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``farewell``, cancel what still runs, stop the loop, join the thread. Does nothing the second time."""
        with self._lock:
            first, self._closing = not self._closing, True
            if first:
                # Work that was started before this becomes a task before this runs, and is cancelled by it.
                asyncio.run_coroutine_threadsafe(self._wind_down(farewell), self._loop)
        self._thread.join(_JOIN_LIMIT_S)

    async def _wind_down(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await farewell()
        finally:
            own = asyncio.current_task()
            tasks = [task for task in asyncio.all_tasks() if task is not own]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_JOIN_LIMIT_S / 2)
            await self._loop.shutdown_asyncgens()
            self._loop.stop()


async def no_farewell() -> None:
    """Do nothing."""
