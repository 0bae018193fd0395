"""Growing delays between tries, with jitter, until a budget is spent. No other module doubles a delay."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator


class Backoff:
    """The delays before further tries, and a budget for all of them, which progress renews.

    The budget, in seconds from the beginning or the last renewal, covers the tries and the delays between them.
    """

    def __init__(
        self,
        *,
        first_s: float,
        longest_s: float,
        budget_s: float = math.inf,
        factor: float = 2.0,
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._budget_s = budget_s
        self._factor = factor
        self._sleep = sleep
        self._monotonic = monotonic
        self.renew()

    def renew(self) -> None:
        """Restart with the first delay and the whole budget."""
        self._give_up_at = self._monotonic() + self._budget_s
        self._delays = growing_delays(self._first_s, self._longest_s, factor=self._factor)

    def next_delay_s(self, *, least_s: float = 0.0) -> float:
        """Return the delay before the next try, ``least_s`` at least; infinity if the budget does not cover it."""
        delay_s = max(jittered(next(self._delays)), least_s)
        return delay_s if self._monotonic() + delay_s <= self._give_up_at else math.inf

    def pause(self) -> bool:
        """Sleep before the next try; return False at once if the budget does not cover it."""
        delay_s = self.next_delay_s()
        if delay_s == math.inf:
            return False
        self._sleep(delay_s)
        return True


def growing_delays(first_s: float, longest_s: float, *, factor: float = 2.0) -> Iterator[float]:
    """Yield delays without end: the first one, then each ``factor`` times as long, up to the longest one."""
    delay_s = first_s
    while True:
        yield delay_s
        delay_s = min(factor * delay_s, longest_s)


def jittered(seconds: float) -> float:
    """Return a random time between half of it and all, so that many clients do not return at the same moment."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
