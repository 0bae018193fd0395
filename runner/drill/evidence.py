"""What there is of a batch, from the cloud's own API and the folder of results: what every verdict of a drill rests on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from runner.drill.batch import DrillBatch
from runner.drill.site import DrillSite
from runner.model import names
from runner.model.leftover import BILLED, Kind

NETS_LIMIT_S = 60.0  # after the lease
LOOK_EVERY_S = 0.5
MEMORY = (Kind.CONTROL, Kind.RESULTS, Kind.STACK)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """``results``: the folder of results that the batch's commands were given."""

    site: DrillSite
    batch: DrillBatch
    results: Path

    @property
    def journal(self) -> Path:
        """The file of the batch's journal, there or not."""
        return self.site.context.journals.folder / f"{self.batch.name}.jsonl"

    def billed(self, *, but: Collection[str] = ()) -> tuple[str, ...]:
        """Return what costs money, and what could not be looked at. ``but``: VMs that do not count, nor do their disks."""
        found = self.site.context.cloud.inventory.find(BILLED, names.labels_of_batch(self.batch.name))
        counted = (item for item in found.items if item.name not in but)
        return (*map(str, counted), *map(str, found.unread))

    def left(self) -> tuple[str, ...]:
        """Return what a batch that is over left: there must be nothing billable, no stack, nothing in the bucket."""
        labels = names.labels_of_batch(self.batch.name)
        found = self.site.context.cloud.inventory.find((*BILLED, *MEMORY), labels)
        theirs = [str(item) for item in found.items if item.batch == self.batch.name]
        return (*theirs, *map(str, found.unread))

    def home(self) -> dict[str, int]:
        """Return the jobs whose results were downloaded, with their attempt."""
        return self.batch.attempts_at_home(self.results)

    def finished(self) -> dict[str, int]:
        """Return the jobs whose results are safe, downloaded or in the bucket, with their attempt."""
        found = {item.job: item.attempt for item in self.site.context.cloud.results.result_sets(self.batch.name)}
        return found | self.home()

    def lies(self, states: Mapping[str, str]) -> list[str]:
        """Return what a command reported wrongly of its jobs. ``states``: by job."""
        said, home = {job for job, state in states.items() if state == "succeeded"}, self.home()
        false = ", ".join(sorted(said - set(home)))
        on_purpose = ", ".join(sorted(said.intersection(self.batch.failing)))
        return [
            *([f"reported as succeeded, but not downloaded: {false}"] if false else []),
            *([f"fails on purpose, and was said to have succeeded: {on_purpose}"] if on_purpose else []),
        ]

    def is_open(self) -> bool:
        """Whether a client can go on with the batch."""
        return self.site.context.cloud.results.get_control(self.batch.name, names.DEFINITION) is not None

    def wait_for_nets(
        self,
        running: Sequence[psutil.Process],
        *,
        on_look: Callable[[tuple[str, ...]], None],
        hung: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Nobody does anything now. Wait until nothing billable is there, and nothing runs that could make it; what is left.

        ``hung``: VMs that only their wall ends if nobody comes, long after that.
        """
        give_up_at = time.monotonic() + self.site.lease_s + NETS_LIMIT_S
        while True:
            engines = [process for process in running if process.is_running() and process.status() != "zombie"]
            things = self.billed(but=hung)
            on_look(things)
            if not things and not engines:
                return ()
            if time.monotonic() > give_up_at:
                return (*things, *(f"process {process.pid} {process.name()}" for process in engines))
            time.sleep(LOOK_EVERY_S)
