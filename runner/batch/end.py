"""The last acts of one client's part in a batch: end it or leave it, download what is left, judge late results, close the journal.

Only a batch that is this client's is touched: one that keeps running, alone or with another client, is left as it is.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from enum import Enum

from runner.batch.outcome import read_outcome
from runner.batch.parts import BatchParts
from runner.batch.summary import JobOutcome, RunSummary
from runner.context import JournalContext
from runner.errors import CloudError, HpcError, LeftoverError
from runner.jobsfile import Definition, forget_inputs
from runner.model.events import BatchDetached
from runner.model.states import JobState
from runner.teardown import close_journal, deferred_signals, end_batch
from runner.vms import VMGuard


class PartEnd(Enum):
    """How one client's part in a batch ends. Only of ENDED is anything of the batch deleted."""

    ENDED = "ended"  # it is over: its VMs are deleted, its results downloaded
    DETACHED = "detached"  # it keeps running alone, to the deadlines of its jobs
    TAKEN_OVER = "taken over"  # it is another client's
    LEFT_AS_FOUND = "left as found"  # this client could not run it, or its owner is unknown


@dataclass(kw_only=True)
class BatchEnd:
    """``planned``: how the part ends if it ends now and nobody takes the batch over. ``left_over``: what could not be removed."""

    context: JournalContext
    definition: Definition
    parts: BatchParts
    planned: PartEnd
    left_over: tuple[str, ...] = ()
    _is_gone: bool = False  # the cloud has said that nothing billable of the batch is left
    _knows_jobs: bool = field(init=False)
    _late: dict[str, JobOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._knows_jobs = self.planned is PartEnd.ENDED

    @property
    def batch(self) -> str:
        """The batch's name."""
        return self.definition.plan.batch

    @property
    def how(self) -> PartEnd:
        """How the part ends as things stand. Whatever was planned, a client that has lost the lease touches nothing."""
        return PartEnd.TAKEN_OVER if self.parts.lease.lost_to else self.planned

    def plan(self, how: PartEnd) -> None:
        """Plan another end, now that this client knows the state of the jobs."""
        self.planned, self._knows_jobs = how, True

    def detach(self) -> None:
        """Detach from the batch: jobs run to their deadlines, then the VMs delete themselves.

        Raises:
            CloudError: the lease is lost, or could not be written; the planned end is unchanged.
        """
        self.parts.lease.detach()
        self.context.journal.record("detached")
        self.planned = PartEnd.DETACHED
        self.context.listener.report(BatchDetached(batch=self.batch))

    def leave(self, hurry: threading.Event) -> None:
        """Delete everything of the batch, or leave it as it was found, or do nothing: what ``how`` says.

        Raises:
            WatchedError, UnreachableError: it is another client's, or its owner is unknown; nothing was touched.
            LeftoverError: something billable is still there.
        """
        match self.how:
            case PartEnd.ENDED:
                self._delete(hurry)
            case PartEnd.LEFT_AS_FOUND:
                self._mark_as_found()

    def _delete(self, hurry: threading.Event) -> None:
        try:
            self.parts.lease.check()
        except HpcError:
            self.planned = PartEnd.LEFT_AS_FOUND
            raise
        try:
            end_batch(self.context, self.batch, hurry=hurry)
            self._delete_late()
        except LeftoverError as error:
            self.left_over = error.items
            raise
        self._is_gone = True

    def _delete_late(self) -> None:
        """Wait for, and delete, VMs whose insertion was on its way when an update was cut off.

        Raises:
            LeftoverError: one of them exists and cannot be deleted.
        """
        if not self.parts.fleet.cut_off:
            return
        with VMGuard(self.context) as guard:
            for vm in self.parts.fleet.cut_off:
                guard.adopt(vm)

    def _mark_as_found(self) -> None:
        """Mark a batch that ran alone as one that does so again."""
        if not self.parts.lease.was_detached:
            return
        try:
            self.parts.lease.detach()
        except CloudError as error:
            message = f"batch {self.batch} is no longer marked as detached; attach to it soon: {error}"
            self.context.warn(message)
        else:
            self.context.journal.record("detached")

    def download_rest(self, hurry: threading.Event) -> None:
        """Download pushed results that no thread waited for, then delete the rest of the batch in the bucket.

        As long as a VM exists, a push may be under way, and a client that attaches needs the batch's definition.
        """
        if self.how is not PartEnd.ENDED:
            return
        collected = self.parts.collector.finish(is_over=self._is_gone, hurry=hurry)
        if hurry.is_set():
            remedy = f"`invoke results --batch {self.batch}` downloads what is there"
            self.context.warn(f"results may still be in the bucket: {remedy}")
            return
        for prefix, problem in collected.corrupt.items():
            self.context.warn(f"{prefix} stays in the bucket: {problem}")
        if self._is_gone:
            self.context.cloud.results.delete_control(self.batch)
            forget_inputs(self.context, self.batch)

    def close_journal(self, outcome: str) -> None:
        """Record the end: last verdicts and receipt of a batch that has ended, or its new client. The journal of one that is left stays open.

        Trouble with the receipt hides no other error. The journal is closed only if the cloud says that nothing is left.
        """
        match self.how:
            case PartEnd.TAKEN_OVER:
                self.context.journal.end(f"taken over by {self.parts.lease.lost_to}")
            case PartEnd.ENDED:
                try:
                    with (
                        deferred_signals(self.context.listener, threading.Event()),
                        self.context.phases.phase("receipt"),
                    ):
                        self._judge_late()
                        close_journal(self.context, outcome)
                except HpcError as error:
                    self.context.warn(str(error))

    def summary(self) -> RunSummary:
        """Return the result of the batch, as far as this client knows it."""
        return RunSummary(
            batch=self.batch,
            jobs=self._outcomes(),
            phases_s=self.context.phases.seconds,
            parts_s=self.context.phases.parts,
            left_over=self.left_over,
            results=self.context.results_folder / self.batch,
            is_detached=self.how is not PartEnd.ENDED,
        )

    def _outcomes(self) -> tuple[JobOutcome, ...]:
        found = self.parts.controller.outcomes()
        return tuple(self._late.get(outcome.name) or self._as_left(outcome) for outcome in found)

    def _as_left(self, outcome: JobOutcome) -> JobOutcome:
        """Return the outcome of a job that has not ended: it is lost with its batch, but not if the batch keeps running."""
        if outcome.state.has_ended:
            return outcome
        if self.how is PartEnd.ENDED:
            return replace(outcome, state=JobState.LOST, message="the batch ended before it did")
        if not self._knows_jobs:
            return replace(outcome, state=JobState.UNKNOWN, message="this client never learned its state")
        return replace(outcome, message="it keeps running without this client")

    def _judge_late(self) -> None:
        """Judge jobs that were given up or never heard of again, but whose verified results were downloaded."""
        expectations = {item.job.name: item.job.expect for item in self.definition.inputs}
        lost = [found for found in self._outcomes() if found.state is JobState.LOST and found.results is None]
        pushed = self._still_pushed() if lost else frozenset()
        for outcome in lost:
            results = self.parts.tracker.find(outcome.name)
            if results is None and outcome.name in pushed:
                message = (
                    f"it ended; its results are in the bucket, and `invoke results --batch {self.batch}` downloads them"
                )
                self._late[outcome.name] = replace(outcome, message=message)
            if results is None:
                continue
            found = read_outcome(
                results.folder,
                name=outcome.name,
                expect=expectations[outcome.name],
                vm=outcome.instance,
                note="its results were downloaded late",
            )
            self._late[outcome.name] = found
            event = found.as_event(results.attempt)
            self.context.listener.report(event)
            self.context.journal.record("job", **event.as_json())

    def _still_pushed(self) -> frozenset[str]:
        """Return the jobs whose complete results are in the bucket; none if it cannot be asked."""
        try:
            return frozenset(found.job for found in self.context.cloud.results.result_sets(self.batch))
        except CloudError:
            return frozenset()
