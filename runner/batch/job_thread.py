"""One attempt of a job on one VM, as a thread: submit, follow, wait for its push, download and verify its results."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.batch.live_logs import LiveLogs
from runner.batch.messages import JobDone, JobTrouble, Message, SolverEnded
from runner.batch.outcome import STATE_FILES, read_outcome
from runner.batch.summary import JobOutcome
from runner.context import Context
from runner.errors import HpcError, RemoteError, UnreachableError
from runner.jobsfile import JobInputs
from runner.lease import WatchedError
from runner.model import names
from runner.model.events import ResultsAskedAgain
from runner.model.states import JobState
from runner.results import Collector, CorruptPushError, DownloadedSet

if TYPE_CHECKING:
    from runner.hardware.opensees import JobOutput, OpenSeesInterface, OpenSeesJob

DOWNLOAD_LIMIT_S = 30 * 60.0  # for results that are in the bucket
CHECK_AGAIN_S = 2.0
PUSH_COMMAND = "push-results"
PUSHED_WITH_GAPS = 3  # packer/README.md has all its exit codes
PUSHED_NOTHING = 7  # whatever its exit code: the VM was going down when it ended, so that it may have been cut off
# An error, no permission, no answer, killed: another push may do better.
PUSH_FAILED = frozenset({1, 4, 6, 137, 143, -1})
MOST_PUSHES = 3  # of one attempt, if one fails or is corrupt


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """An attempt of a job on a VM. ``is_there``: it was submitted before, by an earlier client."""

    inputs: JobInputs
    attempt: int
    vm: str
    is_there: bool

    @property
    def name(self) -> str:
        """The job's name."""
        return self.inputs.job.name

    @property
    def remote_id(self) -> str:
        """The ID of this attempt on the VM."""
        return names.attempt_folder(self.name, self.attempt)


@dataclass(frozen=True, kw_only=True)
class JobThread:
    """The life of one attempt. It reports everything that it learns, and decides nothing.

    ``check``: raises WatchedError if the batch is another client's by now, UnreachableError if that is unknown: then the thread waits.
    ``closed``: nothing new is started.
    """

    context: Context
    batch: str
    assignment: Assignment
    interface: OpenSeesInterface
    collector: Collector
    live_logs: LiveLogs
    report: Callable[[Message], None]
    check: Callable[[], None]
    closed: threading.Event

    def run(self) -> None:
        """Run the attempt, from its submit to its downloaded results."""
        job = self.assignment
        try:
            if not job.is_there and not self._has_submitted():
                return
            self._follow()
            self.report(SolverEnded(job=job.name, attempt=job.attempt))
            output = self._wait_for_push()
            self.report(JobDone(attempt=job.attempt, outcome=self._finish(output)))
        except HpcError as error:
            self._report_trouble(error)
        except (OSError, ValueError) as error:  # such as a file of its model that can no longer be read
            self._report_trouble(HpcError(f"the job cannot continue: {error}"))

    def _has_submitted(self) -> bool:
        """Submit the job. Return False if the batch is another client's by now, or was ended: this computer may have slept meanwhile."""
        while not self.closed.is_set():
            try:
                self.check()
            except WatchedError:
                return False  # the keeper of the lease reports that
            except UnreachableError:
                self.context.sleep(CHECK_AGAIN_S)
            else:
                self.interface.submit_job(self._job_to_submit())
                return True
        return False

    def _report_trouble(self, error: HpcError) -> None:
        job = self.assignment
        self.report(JobTrouble(job=job.name, attempt=job.attempt, vm=job.vm, error=error))

    def _job_to_submit(self) -> OpenSeesJob:
        from runner.hardware.opensees import OpenSeesJob

        job = self.assignment.inputs.job
        return OpenSeesJob(
            id=self.assignment.remote_id,
            folder=job.folder,
            files=self.assignment.inputs.files,
            main=job.main,
            np=job.np,
            args=job.args,
            timeout_s=job.timeout_s,
            on_end=self._push_command(".", push=1),
        )

    def _push_command(self, folder: str, *, push: int) -> tuple[str, ...]:
        """Return the command that pushes this attempt's folder to the bucket."""
        bucket = self.context.cloud.results.bucket
        prefix = names.result_prefix(self.batch, self.assignment.name, self.assignment.attempt, push)
        with_state = [word for file in STATE_FILES for word in ("--include", file)]
        return (PUSH_COMMAND, "--bucket", bucket, "--prefix", prefix, "--dir", folder, *with_state)

    def _follow(self) -> None:
        """Report each line of the job's log until the job has ended."""
        rest = b""
        with self.live_logs.opened(self.assignment.remote_id) as log:
            for piece in self.interface.follow_bytes(self.assignment.remote_id, log.size_bytes):
                whole, newline, rest = (rest + piece.content).rpartition(b"\n")
                self._show_lines(whole + newline)
                log.add(whole + newline)
        self._show_lines(rest)

    def _show_lines(self, content: bytes) -> None:
        if not content:
            return
        for line in content.removesuffix(b"\n").decode("utf-8", "replace").split("\n"):
            self.context.listener.log(self.assignment.name, line)

    def _wait_for_push(self) -> JobOutput:
        """Return how the job ended, after its push, however long that takes: the VM's own end is the limit.

        Raises:
            RemoteError: its end is unknown: the VM went down while it ran.
        """
        name = self.assignment.remote_id
        self.interface.wait([name], after=True)
        output = self.interface.get_job_output(name)
        if output is None or output.exit_code is None or output.on_end_exit_code == PUSHED_NOTHING:
            vm = self.assignment.vm
            raise RemoteError(f"{vm} went down while {self.assignment.name} ran: its end is unknown", host=vm)
        return output

    def _finish(self, output: JobOutput) -> JobOutcome:
        job = self.assignment
        exit_code, push = self._push_until_done(output.on_end_exit_code)
        if exit_code not in (0, PUSHED_WITH_GAPS):
            return JobOutcome(
                name=job.name,
                state=JobState.LOST,
                exit_code=output.exit_code,
                wall_s=output.wall_s,
                core_s=output.core_s,
                instance=job.vm,
                message=f"it ended, but its results could not be pushed to the bucket (push-results: {exit_code})",
                last_lines=output.last_lines,
            )
        results = self._wait_for_download(push)
        self.live_logs.remove(job.remote_id)
        note = "some files could not be read on the VM and were left out" if exit_code == PUSHED_WITH_GAPS else ""
        return read_outcome(results.folder, name=job.name, expect=job.inputs.job.expect, vm=job.vm, note=note)

    def _push_until_done(self, exit_code: int | None) -> tuple[int | None, int]:
        """Have the VM repeat a failed push, a few times. Return the exit code and the number of the last push."""
        push = 1
        while exit_code in PUSH_FAILED and push < MOST_PUSHES:
            again = self._push_again(push + 1)
            if again is None:
                break
            exit_code, push = again, push + 1
        return exit_code, push

    def _wait_for_download(self, push: int) -> DownloadedSet:
        """Return the downloaded results of this push or a later one; what is corrupt is pushed again while its VM is there.

        Raises:
            CorruptPushError: the last push is corrupt, too.
            RemoteError: the VM cannot be asked for another push.
            UnreachableError: nothing was downloaded in time.
        """
        job = self.assignment
        while True:
            try:
                results = self.collector.wait_downloaded(
                    job.name, job.attempt, timeout_s=DOWNLOAD_LIMIT_S, least_push=push
                )
            except CorruptPushError as error:
                if error.push >= MOST_PUSHES:
                    raise
                push = error.push + 1
                code = self._push_again(push)
                if code not in (0, PUSHED_WITH_GAPS):
                    raise UnreachableError(
                        f"the results of {job.name} are corrupt, and cannot be pushed again (push-results: {code})"
                    ) from error
                continue
            if results is None:
                limit = f"{DOWNLOAD_LIMIT_S / 60:.0f} min"
                raise UnreachableError(f"the results of {job.name} were pushed, but not downloaded within {limit}")
            return results

    def _push_again(self, push: int) -> int | None:
        """Have the VM push this attempt once more, and wait until it has; a client before us may have asked for it.

        Return the exit code; None if the VM answers, but cannot start the push: its disk may be full.
        """
        from runner.hardware import JobStatus
        from runner.hardware.opensees import OpenSeesJob

        job = self.assignment
        self.context.listener.report(ResultsAskedAgain(job=job.name, attempt=job.attempt, push=push))
        name = f"{job.remote_id}.push-{push}"
        status = self.interface.get_job_status(name)
        if status is not JobStatus.RUNNING:
            command = self._push_command(f"../{job.remote_id}", push=push)
            again = OpenSeesJob(id=name, folder=job.inputs.job.folder, files=(), main="", np=1, command=command)
            try:
                self.interface.submit_job(again, resubmit=status is not JobStatus.PENDING_SUBMIT)
            except RemoteError:
                if self.interface.get_job_status(name) is JobStatus.FAILED_SUBMIT:
                    return None
                raise
        self.interface.wait([name])
        output = self.interface.get_job_output(name)
        return -1 if output is None or output.exit_code is None else output.exit_code
