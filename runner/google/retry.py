"""When to try again, how often, how long to wait in between. Knows nothing of HTTP but statuses and reasons.

Waits double up to a longest one, with jitter so that many clients do not return at once; a wait that the cloud asks for
(``Retry-After``) counts at least. A call's own budget is time; all calls of one process share a budget of retries, which
successes refill, so that an outage does not cost the full wait for each item.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from runner.errors import CloudError, UnreachableError
from runner.model.stockout import RATE_REASONS
from runner.system.backoff import Backoff

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

RETRY_BUDGET_S = 60.0
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 8.0
SHARED_RETRIES = 200
PASSING_STATUS = frozenset({429, 500, 502, 503, 504})
UNDONE_STATUS = frozenset({429, 503})  # says that nothing was done, so that even an insert may be sent again
LASTING_REASONS = frozenset({"quotaExceeded", "dailyLimitExceeded"})


class RetryPurse:
    """The budget of retries that all calls share. A retry takes one, a success gives one back."""

    def __init__(self, size: int = SHARED_RETRIES) -> None:
        self._size = self._left = size
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a retry; return whether there was one left."""
        with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            return True

    def refill(self) -> None:
        """Give a retry back: a call succeeded."""
        with self._lock:
            self._left = min(self._size, self._left + 1)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Repeats calls that failed for a temporary reason. ``sleep`` and ``monotonic`` are real, or a test's."""

    budget_s: float = RETRY_BUDGET_S
    first_delay_s: float = FIRST_DELAY_S
    longest_delay_s: float = LONGEST_DELAY_S
    purse: RetryPurse = field(default_factory=RetryPurse)
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def run(self, call: Callable[[], Answer], *, is_idempotent: bool) -> Answer:
        """Return the call's answer.

        Raises:
            CloudError: the last refusal, when another try is not worth it or the budget is spent.
        """
        backoff = Backoff(
            budget_s=self.budget_s,
            first_s=self.first_delay_s,
            longest_s=self.longest_delay_s,
            monotonic=self.monotonic,
        )
        while True:
            try:
                answer = call()
            except CloudError as error:
                wait_s = backoff.next_delay_s(least_s=error.retry_after_s)
                is_late = wait_s == math.inf
                if not is_worth_a_retry(error, is_idempotent=is_idempotent) or is_late or not self.purse.take():
                    raise
                _log.info("again in %.2f s, after: %s", wait_s, error)
            else:
                self.purse.refill()
                return answer
            self.sleep(wait_s)


def is_worth_a_retry(error: CloudError, *, is_idempotent: bool) -> bool:
    """Return whether another try may succeed: not if it is forbidden, not found, wrong, in conflict, or over a quota."""
    if error.reason in RATE_REASONS:
        return True
    if error.reason in LASTING_REASONS:
        return False
    if isinstance(error, UnreachableError):
        return is_idempotent
    return error.status in (PASSING_STATUS if is_idempotent else UNDONE_STATUS)
