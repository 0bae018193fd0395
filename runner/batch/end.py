"""The last acts of one client's part in a batch: end it, bring home what is left, judge what came home late, close the journal.

Each of them only while the batch is this client's: one that goes on, alone or with another client, is left as it is.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from runner.batch.controller import Controller
from runner.batch.outcome import read_outcome
from runner.batch.summary import JobOutcome
from runner.context import Context
from runner.errors import CloudError, HpcError, LeftoverError
from runner.jobsfile import Definition, forget_inputs
from runner.journal import SessionState
from runner.lease import LeaseKeeper
from runner.model.events import Listener, Phases
from runner.model.states import JobState
from runner.results import Collector, DownloadTracker
from runner.teardown import close_session, deferred_signals, end_batch


@dataclass(kw_only=True)
class BatchEnd:
    """``goes_on``: nothing of the batch was ended, and it may go on without this client. ``is_informed``: this client knows how
    the jobs stand. ``left_over``: what could not be removed."""

    context: Context
    definition: Definition
    session: SessionState
    listener: Listener
    phases: Phases
    lease: LeaseKeeper
    tracker: DownloadTracker
    collector: Collector
    controller: Controller
    goes_on: bool
    is_informed: bool
    left_over: tuple[str, ...] = ()
    _has_ended: bool = False
    _late: dict[str, JobOutcome] = field(default_factory=dict)

    @property
    def batch(self) -> str:
        """The batch's name."""
        return self.definition.plan.batch

    def end(self, hurry: threading.Event) -> None:
        """Destroy everything of the batch, unless it is another client's by now.

        Raises:
            WatchedError, UnreachableError: it is, or nobody knows; nothing was touched.
            LeftoverError: something billable is still there.
        """
        self.goes_on = True
        self.lease.check()
        self.goes_on = False
        try:
            end_batch(self.context, self.batch, hurry=hurry)
        except LeftoverError as error:
            self.left_over = error.items
            raise
        self._has_ended = True

    def bring_home(self, hurry: threading.Event) -> None:
        """What was pushed and nobody waited for any more; then nothing of the batch is left in the bucket.

        As long as something of it is there, a push may go on, and whoever attaches needs the batch's definition.
        """
        if self.goes_on or self.lease.lost_to:
            return
        collected = self.collector.finish(is_over=self._has_ended, hurry=hurry)
        if hurry.is_set():
            remedy = f"`invoke results --batch {self.batch}` brings home what is there"
            self.listener.tell("warning", message=f"results may still be in the bucket: {remedy}")
            return
        for prefix, problem in collected.corrupt.items():
            self.listener.tell("warning", message=f"{prefix} stays in the bucket: {problem}")
        if self._has_ended:
            self.context.cloud.results.delete_control(self.batch)
            forget_inputs(self.context, self.batch)

    def leave(self) -> None:
        """Go away and let the batch go on: jobs run to their deadlines, then the VMs end themselves."""
        self.lease.detach()
        self.session.record("detached")
        self.goes_on = True
        self.listener.tell("detached", batch=self.batch)

    def leave_as_found(self) -> None:
        """Go away from a batch that could not be gone on with. One that ran alone does so again."""
        self.goes_on = True
        if not self.lease.was_detached:
            return
        try:
            self.lease.detach()
        except CloudError as error:
            message = f"batch {self.batch} is no longer marked as one that goes on alone; attach to it soon: {error}"
            self.listener.tell("warning", message=message)
        else:
            self.session.record("detached")

    def outcomes(self) -> tuple[JobOutcome, ...]:
        """What is known of each job, in the file's order."""
        return tuple(self._late.get(outcome.name) or self._as_left(outcome) for outcome in self.controller.outcomes())

    def _as_left(self, outcome: JobOutcome) -> JobOutcome:
        """A job that has not ended is lost with its batch, and not lost at all if that goes on."""
        if outcome.state.has_ended:
            return outcome
        if not self.goes_on:
            return replace(outcome, state=JobState.LOST, message="the batch ended before it did")
        if not self.is_informed:
            return replace(outcome, state=JobState.UNKNOWN, message="this client did not come to look after it")
        return replace(outcome, message="it goes on without this client")

    def _judge_late(self) -> None:
        """Judge the jobs that were given up, or never heard of again, and whose verified results came home all the same."""
        expectations = {item.job.name: item.job.expect for item in self.definition.inputs}
        lost = [found for found in self.outcomes() if found.state is JobState.LOST and found.results is None]
        pushed = self._still_pushed() if lost else frozenset()
        for outcome in lost:
            home = self.tracker.find(outcome.name)
            if home is None and outcome.name in pushed:
                message = f"it ended; its results are in the bucket, and `invoke results --batch {self.batch}` brings them home"
                self._late[outcome.name] = replace(outcome, message=message)
            if home is None:
                continue
            expect = expectations[outcome.name]
            found = read_outcome(
                home.folder,
                name=outcome.name,
                expect=expect,
                machine=outcome.instance,
                note="its results came home late",
            )
            self._late[outcome.name] = found
            facts = found.facts() | {"attempt": home.attempt}
            self.listener.tell("job", **facts)
            self.session.record("job", **facts)

    def _still_pushed(self) -> frozenset[str]:
        """The jobs whose whole results are in the bucket; none if it cannot be asked."""
        try:
            return frozenset(found.job for found in self.context.cloud.results.result_sets(self.batch))
        except CloudError:
            return frozenset()

    def close_session(self, outcome: str) -> None:
        """The last verdicts, the receipt, and the journal's end if the cloud says that nothing is left. Trouble with that hides
        no other error."""
        try:
            with deferred_signals(self.listener, threading.Event()), self.phases.phase("receipt"):
                self._judge_late()
                close_session(self.context.in_session(self.session), outcome)
        except HpcError as error:
            self.listener.tell("warning", message=str(error))
