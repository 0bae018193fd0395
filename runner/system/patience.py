"""Pauses between tries that grow, with jitter, as long as a budget lasts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable


class Patience:
    """How often and how long to try again. Progress makes it new.

    ``pause`` sleeps and is True, or is False at once when the next pause would not fit into the budget.
    """

    def __init__(
        self, *, budget_s: float, first_s: float, longest_s: float, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._budget_s = budget_s
        self._first_s = first_s
        self._longest_s = longest_s
        self._sleep = sleep
        self.renew()

    def renew(self) -> None:
        """Begin again: something went forward."""
        self._give_up_at = time.monotonic() + self._budget_s
        self._next_s = self._first_s

    def pause(self) -> bool:
        """Wait before the next try; whether there is to be one."""
        if time.monotonic() + self._next_s > self._give_up_at:
            return False
        self._sleep(jittered(self._next_s))
        self._next_s = min(2 * self._next_s, self._longest_s)
        return True


def jittered(seconds: float) -> float:
    """Between half of it and all, so that many clients do not come back at the same moment."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
