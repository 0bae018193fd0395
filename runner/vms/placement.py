"""The place to request a VM next, when the last zone had none. Used by batches and bakes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from runner.context import Context
from runner.errors import CloudError, HpcError
from runner.model.stockout import FailedOperation, Other, Placement, RateLimit, Stockout, classify, next_placement

MOST_REPEATS = 4  # of an update whose refusal may be temporary
REPEAT_DELAY_S = 5.0
CLOCK_SLACK = timedelta(minutes=2)  # the cloud's clock and ours may differ


class PlacementFinder:
    """Remembers what was tried for one batch. Not safe for several threads: only the engine's thread uses it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._began = context.now() - CLOCK_SLACK
        self._tried: list[Placement] = []
        self._repeats = 0

    def after(
        self, placement: Placement, error: HpcError, *, vms: Collection[str], is_wanted: Callable[[], bool]
    ) -> Placement | None:
        """Return the place to try for ``vms`` after ``place`` answered with ``error``: another one, the same once more, or None."""
        refusal = classify(error, self._details(vms))
        if isinstance(refusal, Stockout):
            self._tried.append(placement)
            found = next_placement(self._tried, self._context.settings, refusal.zones_available)
            if found is not None:
                where = f"{found.machine_type} in {found.zone}"
                self._context.warn(f"{refusal.message} Trying {where}.")
            return found
        passes = isinstance(refusal, RateLimit) or (isinstance(refusal, Other) and refusal.is_passing)
        if passes and self._repeats < MOST_REPEATS and is_wanted():
            self._repeats += 1
            self._context.warn(f"{refusal.message} Trying again.")
            self._context.sleep(REPEAT_DELAY_S * self._repeats)
            return placement
        return None

    def _details(self, vms: Collection[str]) -> list[FailedOperation]:
        """Return what the cloud itself says of these VMs; nothing if it does not answer: the error says enough."""
        try:
            return self._context.cloud.compute.failed_operations(vms, since=self._began)
        except CloudError:
            return []
