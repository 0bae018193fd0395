"""What becomes of the jobs of a lost VM: none is run elsewhere before the VM has ended and the bucket was looked into.

A VM that fell silent may still be at its jobs, and may have pushed results of which nobody heard. So it is deleted first, unless it
goes by itself; what its last act pushed comes home; and only what is neither at home nor in the bucket then has to run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runner.batch.job_thread import HOME_LIMIT_S
from runner.batch.live_logs import LiveLogs
from runner.batch.messages import JobDone, JobTrouble, MachineGone, Message, ResultsLost
from runner.batch.outcome import read_outcome
from runner.context import Context
from runner.errors import CloudError, HpcError, PermissionDeniedError, UnreachableError
from runner.google import Instance, is_worth_a_retry
from runner.lease import WatchedError
from runner.model import names
from runner.model.batch import Expectation
from runner.model.roster import JobEntry
from runner.results import Collector, CorruptResultsError, HomeSet

PUSH_LIMIT_S = 120.0  # for results that are on their way, and for a VM that goes by itself: it has 30 s, and a minute until it is gone
CLOUD_LIMIT_S = 10 * 60.0  # for a cloud that is silent; then nobody can say whether the VM has ended
LOOK_S = 2.0
NOTE = "its VM was lost; results from the bucket"


@dataclass(frozen=True, kw_only=True)
class Rescue:
    """For one lost machine. ``run`` is the body of a thread; it ends early once ``closed`` is set.

    ``jobs``: those that ran there. ``check``: raises WatchedError if the batch is another client's by now. ``note_ended``: called when
    nothing is waited for on the machine any more. ``disconnect``: close what was connected to it, and wait until nobody follows its
    jobs any more.
    """

    context: Context
    batch: str
    machine: str
    jobs: Sequence[JobEntry]
    expectations: Mapping[str, Expectation]
    collector: Collector
    live_logs: LiveLogs
    check: Callable[[], None]
    note_ended: Callable[[], None]
    disconnect: Callable[[], None]
    tell: Callable[[Message], None]
    closed: threading.Event

    def run(self) -> None:
        """End the machine, look for all of its jobs, tell what is known of each."""
        try:
            may_go_on = self._end_machine()
        finally:
            self.note_ended()
            self.disconnect()
        if not may_go_on:
            return
        for job in self.jobs:
            if self.closed.is_set():
                return
            self.tell(self._look_for(job))
        self.tell(MachineGone(name=self.machine))

    def _end_machine(self) -> bool:
        """Until it can end no job any more, as far as anybody can tell; False if this client has nothing to say here any more."""
        begun = self.context.monotonic()
        while not self.closed.is_set():
            waited_s = self.context.monotonic() - begun
            try:
                if self._has_ended(may_wait=waited_s < PUSH_LIMIT_S):
                    return True
            except WatchedError:
                return False
            except CloudError as error:
                if isinstance(error, PermissionDeniedError) or waited_s > CLOUD_LIMIT_S:
                    self._warn(f"{self.machine} is lost and may still run, its jobs are started elsewhere: {error}")
                    return True
            self.context.sleep(LOOK_S)
        return False

    def _has_ended(self, *, may_wait: bool) -> bool:
        """One look, and the deletion when it is due. Raises: CloudError."""
        found = self._find()
        if found is None:
            return True
        if may_wait and (found.is_going or self._owes()):
            return False
        self.check()
        self.context.cloud.compute.delete_instance(found.zone, found.name)
        return self._find() is None

    def _find(self) -> Instance | None:
        there = self.context.cloud.compute.instances(names.labels_of_batch(self.batch))
        return next((instance for instance in there if instance.name == self.machine), None)

    def _owes(self) -> bool:
        """Whether results of a job that is known to have ended may still come from there."""
        return any(job.frees_cores and self.collector.find_home(job.name, job.attempt) is None for job in self.jobs)

    def _look_for(self, job: JobEntry) -> Message:
        """What came of a job, in whatever attempt."""
        try:
            for attempt in sorted(self._pushed_attempts(job.name), reverse=True):
                home = self._bring_home(job.name, attempt)
                if home is not None:
                    return self._done(job, home)
        except HpcError as error:
            return JobTrouble(job=job.name, attempt=job.attempt, machine=self.machine, error=error)
        return ResultsLost(job=job.name, attempt=job.attempt)

    def _pushed_attempts(self, job: str) -> set[int]:
        """The attempts that are whole in the bucket, or at home. A bucket that does not answer is asked again, for as long as it takes.

        Raises:
            CloudError: it refuses.
        """
        is_told = False
        while True:
            try:
                return self.collector.find_attempts(job)
            except CloudError as error:
                if self.closed.is_set() or not is_worth_a_retry(error, is_idempotent=True):
                    raise
                if not is_told:
                    self._warn(f"job {job} is not run again before the bucket can be read: {error}")
                is_told = True
            self.context.sleep(LOOK_S)

    def _bring_home(self, job: str, attempt: int) -> HomeSet | None:
        """An attempt at home, if it is whole in the bucket or came home before; what arrives damaged is as good as none.

        Raises:
            DiskError: there is no room at home.
            UnreachableError: it is in the bucket, and does not come.
        """
        begun = self.context.monotonic()
        while attempt in self._pushed_attempts(job):
            try:
                home = self.collector.wait_home(job, attempt, timeout_s=LOOK_S)
            except CorruptResultsError:  # which is told already: nobody is there to push it again
                return None
            if home is not None:
                return home
            if self.closed.is_set() or self.context.monotonic() - begun > HOME_LIMIT_S:
                raise UnreachableError(f"the results of {job} are in the bucket, but do not come home")
        return None

    def _done(self, job: JobEntry, home: HomeSet) -> JobDone:
        self.live_logs.tell_rest(home)
        outcome = read_outcome(
            home.folder, name=job.name, expect=self.expectations[job.name], machine=self.machine, note=NOTE
        )
        return JobDone(attempt=job.attempt, outcome=outcome)

    def _warn(self, message: str) -> None:
        self.context.listener.tell("warning", message=message)
