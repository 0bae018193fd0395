"""The cloud's clock, and alarms that survive a restart.

The admin API can move the clock forward, so that a test of a one-hour limit takes a moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from runner.emulator.state.store import Document, Store

ALARMS = "alarms/"
OFFSET = "clock/offset"


class Clock:
    """Wall time plus an offset. The offset is stored, so that a restart does not go back in time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._offset_s = float((store.get(OFFSET) or {}).get("offset_s", 0.0))
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Return the cloud's time in seconds since 1970."""
        return time.time() + self._offset_s

    def advance(self, seconds: float) -> None:
        """Move the time forward and wake every sleeper whose time has come."""
        self._offset_s += seconds
        self._store.put(OFFSET, {"offset_s": self._offset_s})
        self._moved.set()
        self._moved = asyncio.Event()

    def reset(self) -> None:
        """Return to wall time, after the store was cleared."""
        self._offset_s = 0.0

    async def sleep_until(self, at: float, *, unless: asyncio.Event | None = None) -> bool:
        """Wait until a time. Return True when it has come, False if ``unless`` was set first."""
        while (left_s := at - self.now()) > 0:
            if unless is not None and unless.is_set():
                return False
            await self._wait_any([self._moved] + ([unless] if unless else []), left_s)
        return True

    async def _wait_any(self, events: list[asyncio.Event], limit_s: float) -> None:
        tasks = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


Handler = Callable[[Document], Awaitable[None]]


class Alarms:
    """Named times at which something has to happen. They are stored, so they survive a restart."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._changed = asyncio.Event()
        self._handlers: dict[str, Handler] = {}

    def handle(self, kind: str, handler: Handler) -> None:
        """Call ``handler`` with the alarm's document when an alarm of this kind goes off. It must not block for long."""
        self._handlers[kind] = handler

    def arm(self, name: str, *, at: float, kind: str, **details: object) -> None:
        self._store.put(ALARMS + name, {"at": at, "kind": kind, **details})
        self._changed.set()

    def disarm(self, name: str) -> None:
        self._store.delete(ALARMS + name)

    async def run(self) -> None:
        """Wait for each alarm in turn and call its handler; never return."""
        while True:
            self._changed.clear()
            due = sorted((alarm["at"], key) for key, alarm in self._store.items(ALARMS))
            if not due:
                await self._changed.wait()
            elif await self._clock.sleep_until(due[0][0], unless=self._changed):
                await self._go_off(due[0][1])

    async def _go_off(self, key: str) -> None:
        alarm = self._store.get(key)
        self._store.delete(key)
        if alarm is not None and alarm["kind"] in self._handlers:
            await self._handlers[alarm["kind"]](alarm)
