"""The threads of one owner: started by name, waited for at the end, and none of their errors is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runner.errors import HpcError


class Threads:
    """``on_defect`` is called with the exception that ended a thread; ``on_error``, if given, is called instead for an HpcError.

    Safe for several threads.
    """

    def __init__(
        self,
        on_defect: Callable[[BaseException], None],
        on_error: Callable[[str, HpcError], None] | None = None,
    ) -> None:
        self._on_defect = on_defect
        self._on_error = on_error
        self._lock = threading.Lock()
        self._started: list[threading.Thread] = []

    def start(self, work: Callable[[], object], *, name: str) -> threading.Thread:
        """Start a thread."""

        def run() -> None:
            try:
                work()
            except BaseException as error:
                if isinstance(error, HpcError) and self._on_error is not None:
                    self._on_error(name, error)
                else:
                    self._on_defect(error)

        thread = threading.Thread(target=run, daemon=True, name=name)
        with self._lock:
            self._started = [other for other in self._started if other.is_alive()]
            thread.start()
            self._started.append(thread)
        return thread

    def join(self, limit_s: float) -> bool:
        """Wait until all have ended, for this long in total; return whether they have."""
        give_up_at = time.monotonic() + limit_s
        with self._lock:
            threads = [thread for thread in self._started if thread is not threading.current_thread()]
        for thread in threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)
