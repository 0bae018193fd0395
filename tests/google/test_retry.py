"""Which errors are retried, how often, and after which waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.errors import CloudError, ConflictError, NotFoundError, PermissionDeniedError, QuotaError, UnreachableError
from runner.google.retry import RetryPolicy, RetryPurse, is_worth_a_retry


class World:
    """Time that passes by sleeping, and a call that fails by a script."""

    def __init__(self, *failures: CloudError) -> None:
        self.failures = list(failures)
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def monotonic(self) -> float:
        return sum(self.slept)

    def call(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    def policy(self, **more: float) -> Callable[[], str]:
        policy = RetryPolicy(sleep=self.sleep, monotonic=self.monotonic, **more)  # type: ignore[arg-type]
        return lambda: policy.run(self.call, is_idempotent=True)


def unavailable(retry_after_s: float = 0.0) -> CloudError:
    error = CloudError("try later", reason="backendError", status=503)
    error.retry_after_s = retry_after_s
    return error


@pytest.mark.parametrize(
    ("error", "idempotent", "other"),
    [
        (unavailable(), True, True),
        (CloudError("x", status=429), True, True),
        (CloudError("x", status=500), True, False),
        (CloudError("x", status=502), True, False),
        (UnreachableError("x"), True, False),
        (CloudError("x", reason="rateLimitExceeded", status=403), True, True),
        (CloudError("x", reason="userRateLimitExceeded", status=403), True, True),
        (QuotaError("x", reason="quotaExceeded", status=403), False, False),
        (QuotaError("x", reason="quotaExceeded", status=429), False, False),
        (PermissionDeniedError("x", reason="forbidden", status=403), False, False),
        (PermissionDeniedError("x", status=401), False, False),
        (NotFoundError("x", status=404), False, False),
        (ConflictError("x", status=409), False, False),
        (CloudError("x", reason="invalid", status=400), False, False),
    ],
)
def test_errors_that_are_retried(error: CloudError, idempotent: bool, other: bool) -> None:
    assert is_worth_a_retry(error, is_idempotent=True) is idempotent
    assert is_worth_a_retry(error, is_idempotent=False) is other


def test_waits_double_up_to_the_longest_with_jitter() -> None:
    world = World(*(unavailable() for _ in range(8)))
    assert world.policy(first_delay_s=1.0, longest_delay_s=8.0, budget_s=600.0)() == "answer"
    for waited, full in zip(world.slept, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert full / 2 <= waited <= full


def test_the_wait_that_the_cloud_requests_is_the_least() -> None:
    world = World(unavailable(retry_after_s=20.0))
    assert world.policy(first_delay_s=0.1)() == "answer"
    assert world.slept == [20.0]


def test_the_budget_of_a_call_is_time() -> None:
    world = World(*(unavailable() for _ in range(1000)))
    with pytest.raises(CloudError, match="try later"):
        world.policy(first_delay_s=1.0, longest_delay_s=8.0, budget_s=60.0)()
    assert world.monotonic() <= 60.0
    assert 8 <= len(world.slept) < 20


def test_other_errors_are_raised_at_once() -> None:
    world = World(PermissionDeniedError("no", status=403))
    with pytest.raises(PermissionDeniedError):
        world.policy()()
    assert world.slept == []


def test_calls_share_a_budget_that_successes_refill() -> None:
    purse, world = RetryPurse(size=3), World(*(unavailable() for _ in range(5)))
    policy = RetryPolicy(sleep=world.sleep, monotonic=world.monotonic, purse=purse)
    with pytest.raises(CloudError):
        policy.run(world.call, is_idempotent=True)
    assert len(world.failures) == 1
    with pytest.raises(CloudError):
        policy.run(world.call, is_idempotent=True)
    assert policy.run(world.call, is_idempotent=True) == "answer"
    world.failures = [unavailable()]
    assert policy.run(world.call, is_idempotent=True) == "answer"
