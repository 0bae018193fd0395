"""The rescue of the jobs of a lost VM: none is run elsewhere before the VM has ended and the bucket was searched for its results.

A VM that does not answer may still run its jobs, and may have pushed results that no client knows of. So it is deleted first, unless
the cloud is deleting it; what it pushed last is downloaded; and only jobs without results here or in the bucket are run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runner.batch.job_thread import DOWNLOAD_LIMIT_S
from runner.batch.live_logs import LiveLogs
from runner.batch.messages import JobDone, JobTrouble, Message, ResultsLost, VMGone
from runner.batch.outcome import read_outcome
from runner.context import Context
from runner.errors import CloudError, HpcError, PermissionDeniedError, UnreachableError
from runner.google import Instance, is_worth_a_retry
from runner.lease import WatchedError
from runner.model import names
from runner.model.batch import Expectation
from runner.model.roster import JobEntry
from runner.results import Collector, CorruptResultsError, DownloadedSet

PUSH_LIMIT_S = 120.0  # for results that are on their way, and for a VM that is being preempted: it has 30 s, and a minute until it is gone
CLOUD_LIMIT_S = 10 * 60.0  # for a cloud that does not answer; after that it is unknown whether the VM has ended
LOOK_S = 2.0
NOTE = "its VM was lost; results from the bucket"


@dataclass(frozen=True, kw_only=True)
class Rescue:
    """The rescue for one lost VM. ``run`` is the body of a thread; it ends early once ``closed`` is set.

    ``jobs``: those that ran there. ``check``: raises WatchedError if the batch is another client's by now. ``note_ended``: called when
    nothing more is expected from the VM. ``disconnect``: closes the connection to it, and waits for the threads that follow its
    jobs.
    """

    context: Context
    batch: str
    vm: str
    jobs: Sequence[JobEntry]
    expectations: Mapping[str, Expectation]
    collector: Collector
    live_logs: LiveLogs
    check: Callable[[], None]
    note_ended: Callable[[], None]
    disconnect: Callable[[], None]
    report: Callable[[Message], None]
    closed: threading.Event

    def run(self) -> None:
        """Delete the VM, search for the results of all of its jobs, report what was found of each."""
        try:
            may_look = self._end_vm()
        finally:
            self.note_ended()
            self.disconnect()
        if not may_look:
            return
        for job in self.jobs:
            if self.closed.is_set():
                return
            self.report(self._look_for(job))
        self.report(VMGone(name=self.vm))

    def _end_vm(self) -> bool:
        """Wait until it can no longer end a job, as far as is known. Return False if the batch is another client's by now."""
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
                    self._warn(f"{self.vm} is lost and may still run; its jobs are started elsewhere: {error}")
                    return True
            self.context.sleep(LOOK_S)
        return False

    def _has_ended(self, *, may_wait: bool) -> bool:
        """Look once, and delete the VM when that is due. Raises: CloudError."""
        found = self._find()
        if found is None:
            return True
        if may_wait and (found.is_going or self._may_push()):
            return False
        self.check()
        self.context.cloud.compute.delete_instance(found.zone, found.name)
        return self._find() is None

    def _find(self) -> Instance | None:
        there = self.context.cloud.compute.instances(names.labels_of_batch(self.batch))
        return next((instance for instance in there if instance.name == self.vm), None)

    def _may_push(self) -> bool:
        """Return whether it may still push results of a job that is known to have ended."""
        return any(
            job.frees_cores and self.collector.find_downloaded(job.name, job.attempt) is None for job in self.jobs
        )

    def _look_for(self, job: JobEntry) -> Message:
        """Return the outcome of a job, from any of its attempts."""
        try:
            for attempt in sorted(self._pushed_attempts(job.name), reverse=True):
                results = self._download(job.name, attempt)
                if results is not None:
                    return self._done(job, results)
        except HpcError as error:
            return JobTrouble(job=job.name, attempt=job.attempt, vm=self.vm, error=error)
        return ResultsLost(job=job.name, attempt=job.attempt)

    def _pushed_attempts(self, job: str) -> set[int]:
        """Return the attempts that are complete in the bucket, or downloaded. A bucket that does not answer is asked again until it does.

        Raises:
            CloudError: it refuses.
        """
        has_warned = False
        while True:
            try:
                return self.collector.find_attempts(job)
            except CloudError as error:
                if self.closed.is_set() or not is_worth_a_retry(error, is_idempotent=True):
                    raise
                if not has_warned:
                    self._warn(f"job {job} is not run again until the bucket can be read: {error}")
                has_warned = True
            self.context.sleep(LOOK_S)

    def _download(self, job: str, attempt: int) -> DownloadedSet | None:
        """Return an attempt's results, if it is complete in the bucket or was downloaded before; None if they are corrupt.

        Raises:
            DiskError: there is no disk space here.
            UnreachableError: it is in the bucket, and cannot be downloaded.
        """
        begun = self.context.monotonic()
        while attempt in self._pushed_attempts(job):
            try:
                results = self.collector.wait_downloaded(job, attempt, timeout_s=LOOK_S)
            except CorruptResultsError:  # which is reported already: no VM exists that could push it again
                return None
            if results is not None:
                return results
            if self.closed.is_set() or self.context.monotonic() - begun > DOWNLOAD_LIMIT_S:
                raise UnreachableError(f"the results of {job} are in the bucket, but cannot be downloaded")
        return None

    def _done(self, job: JobEntry, results: DownloadedSet) -> JobDone:
        self.live_logs.show_rest(results)
        outcome = read_outcome(results.folder, name=job.name, expect=self.expectations[job.name], vm=self.vm, note=NOTE)
        return JobDone(attempt=job.attempt, outcome=outcome)

    def _warn(self, message: str) -> None:
        self.context.warn(message)
