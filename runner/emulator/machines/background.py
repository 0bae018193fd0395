"""Tasks that run in the background until they end or are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTasks:
    """Owns tasks, since the event loop alone does not keep them alive."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a task and own it until it ends."""
        self.add(asyncio.create_task(work))

    def add(self, task: asyncio.Task[None]) -> None:
        """Own a running task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self) -> None:
        """Wait until all tasks have ended; raise the error of one that failed."""
        await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
