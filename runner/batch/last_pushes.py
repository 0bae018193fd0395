"""Lost VMs from which results may still come. An update would delete them, so none begins in that time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runner.batch.rescue import PUSH_LIMIT_S
from runner.context import Context

LOOK_S = 1.0


class LastPushes:
    """The last pushes of one batch. Safe for several threads.

    They cannot stay among the wishes instead: an update would create again those that are gone.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._awaited: dict[str, float] = {}

    def expect(self, name: str) -> None:
        """Expect results of this VM, for ``PUSH_LIMIT_S`` at most."""
        with self._lock:
            self._awaited[name] = self._context.monotonic() + PUSH_LIMIT_S

    def note_ended(self, name: str) -> None:
        """Stop expecting results of this VM. A second call is harmless."""
        with self._lock:
            self._awaited.pop(name, None)

    def wait(self, is_open: Callable[[], bool]) -> None:
        """Wait until no results are expected, or ``is_open`` returns False."""
        while is_open() and self._are_awaited():
            self._context.sleep(LOOK_S)

    def _are_awaited(self) -> bool:
        with self._lock:
            return any(self._context.monotonic() < give_up_at for give_up_at in self._awaited.values())
