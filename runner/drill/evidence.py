"""What exists of a batch, from the cloud's own API and the results folder: the evidence for the verdicts of a drill."""

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
    """What exists of a batch. ``results``: the results folder of the batch's commands."""

    site: DrillSite
    batch: DrillBatch
    results: Path

    @property
    def journal(self) -> Path:
        """The file of the batch's journal, whether it exists or not."""
        return self.site.context.journals.folder / f"{self.batch.name}.jsonl"

    def billed(self, *, but: Collection[str] = ()) -> tuple[str, ...]:
        """Return what costs money, and what could not be read. ``but``: VMs to leave out, with their disks."""
        found = self.site.context.cloud.inventory.find(BILLED, names.labels_of_batch(self.batch.name))
        counted = (item for item in found.items if item.name not in but)
        return (*map(str, counted), *map(str, found.unread))

    def left(self) -> tuple[str, ...]:
        """Return what a batch that is over has left: billable resources, stacks, objects in the bucket. It should be empty."""
        labels = names.labels_of_batch(self.batch.name)
        found = self.site.context.cloud.inventory.find((*BILLED, *MEMORY), labels)
        theirs = [str(item) for item in found.items if item.batch == self.batch.name]
        return (*theirs, *map(str, found.unread))

    def downloaded(self) -> dict[str, int]:
        """Return the jobs whose results were downloaded, each with its attempt."""
        return self.batch.downloaded_attempts(self.results)

    def finished(self) -> dict[str, int]:
        """Return the jobs whose results are safe, downloaded or in the bucket, each with its attempt."""
        found = {item.job: item.attempt for item in self.site.context.cloud.results.result_sets(self.batch.name)}
        return found | self.downloaded()

    def false_reports(self, states: Mapping[str, str]) -> list[str]:
        """Return what a command reported wrongly about its jobs. ``states``: by job."""
        succeeded = {job for job, state in states.items() if state == "succeeded"}
        false = ", ".join(sorted(succeeded - set(self.downloaded())))
        on_purpose = ", ".join(sorted(succeeded.intersection(self.batch.failing)))
        return [
            *([f"reported as succeeded, but not downloaded: {false}"] if false else []),
            *([f"reported as succeeded, but fails on purpose: {on_purpose}"] if on_purpose else []),
        ]

    def is_open(self) -> bool:
        """Return whether a client can continue the batch."""
        return self.site.context.cloud.results.get_control(self.batch.name, names.DEFINITION) is not None

    def wait_for_nets(
        self,
        running: Sequence[psutil.Process],
        *,
        on_look: Callable[[tuple[str, ...]], None],
        hung: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Wait, without any action of the user, until no billable resource exists, nor any process that could create one; return what is left.

        ``hung``: VMs that only their maxRunDuration ends if no client attaches, long after that.
        """
        give_up_at = time.monotonic() + self.site.lease_s + NETS_LIMIT_S
        while True:
            engines = [process for process in running if process.is_running() and process.status() != "zombie"]
            items = self.billed(but=hung)
            on_look(items)
            if not items and not engines:
                return ()
            if time.monotonic() > give_up_at:
                return (*items, *(f"process {process.pid} {process.name()}" for process in engines))
            time.sleep(LOOK_EVERY_S)
