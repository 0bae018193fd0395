"""One job on one VM: submit, follow, judge, wait for its push, bring its results home verified."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.commands.collect import bring_home
from runner.commands.context import Context
from runner.commands.dispatch import Slot
from runner.commands.events import Listener
from runner.commands.preflight import JobInputs
from runner.commands.summary import JobOutcome
from runner.core.storage import ResultSet
from runner.errors import HpcError, RemoteError
from runner.model import names
from runner.model.states import JobState
from runner.model.verdict import judge

if TYPE_CHECKING:
    from runner.hardware.opensees import OpenSeesInterface, OpenSeesJob

ATTEMPT = 1
PUSH_LIMIT_S = 30 * 60.0
FIRST_PUSH_LOOK_S = 0.05
LONGEST_PUSH_LOOK_S = 1.0
PUSH_COMMAND = "push-results"
PUSHED_WITH_GAPS = 3  # packer/README.md has all its exit codes


@dataclass(frozen=True, kw_only=True)
class JobWork:
    """A job as the dispatcher sees it."""

    inputs: JobInputs

    @property
    def cores_needed(self) -> int:
        """One physical core a rank."""
        return self.inputs.job.np


class JobRunner:
    """Runs jobs through the job interfaces of the batch's VMs. Safe for several threads."""

    def __init__(self, *, context: Context, batch: str, listener: Listener) -> None:
        self._context = context
        self._batch = batch
        self._listener = listener
        self._interfaces: dict[str, OpenSeesInterface] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether VMs are still wanted."""
        return not self._closed

    def add(self, instance: str, interface: OpenSeesInterface) -> None:
        """Give the runner the interface of a VM that answers; the runner closes it."""
        with self._lock:
            if not self._closed:
                self._interfaces[instance] = interface
                return
        interface.close()

    def close(self) -> None:
        """Close all interfaces; calls that wait on them end with an error."""
        with self._lock:
            self._closed = True
            interfaces = list(self._interfaces.values())
            self._interfaces.clear()
        for interface in interfaces:
            interface.close()

    def run_job(self, work: JobWork, slot: Slot, release: Callable[[], None]) -> JobOutcome:
        """Run one job; never raises what can happen to a job, but returns it as the outcome."""
        job = work.inputs.job
        self._listener.tell("job", job=job.name, state="running", instance=slot.name)
        try:
            outcome = self._run(work.inputs, slot, release)
        except HpcError as error:
            lost = isinstance(error, RemoteError)
            state = JobState.LOST if lost else JobState.FAILED
            outcome = JobOutcome(name=job.name, state=state, instance=slot.name, message=str(error))
        self._listener.tell("job", job=job.name, state=outcome.state.value, **_facts(outcome))
        return outcome

    def _run(self, inputs: JobInputs, slot: Slot, release: Callable[[], None]) -> JobOutcome:
        interface, job = self._interfaces[slot.name], inputs.job
        interface.submit_job(self._job_to_submit(inputs))
        self._follow(interface, job.name)
        output = interface.get_job_output(job.name)
        release()
        if output is None:
            raise RemoteError(f"job {job.name} left no record of its end on {slot.name}", host=slot.name)
        verdict = judge(
            exit_code=output.exit_code, timed_out=output.timed_out, last_lines=output.last_lines, expect=job.expect
        )
        self._listener.tell("job", job=job.name, state="pushing", instance=slot.name, exit_code=output.exit_code)
        results, trouble = self._bring_home(interface, job.name)
        lost = results is None and verdict.state is JobState.SUCCEEDED
        return JobOutcome(
            name=job.name,
            state=JobState.LOST if lost else verdict.state,
            exit_code=output.exit_code,
            wall_s=output.wall_s,
            core_s=output.core_s,
            instance=slot.name,
            results=results,
            message="; ".join(part for part in (verdict.reason, trouble) if part),
            last_lines=tuple(output.last_lines),
        )

    def _job_to_submit(self, inputs: JobInputs) -> OpenSeesJob:
        from runner.hardware.opensees import OpenSeesJob

        job = inputs.job
        prefix = names.result_prefix(self._batch, job.name, ATTEMPT)
        push = (PUSH_COMMAND, "--bucket", self._context.cloud.results.bucket, "--prefix", prefix, "--dir", ".")
        return OpenSeesJob(
            id=job.name,
            folder=job.folder,
            files=inputs.files,
            main=job.main,
            np=job.np,
            args=job.args,
            timeout_s=job.timeout_s,
            on_end=push,
        )

    def _follow(self, interface: OpenSeesInterface, name: str) -> None:
        """Tell each line of the job's log until the job has ended."""
        rest = ""
        for chunk in interface.follow(name):
            *lines, rest = (rest + chunk).split("\n")
            for line in lines:
                self._listener.on_log(name, line)
        if rest:
            self._listener.on_log(name, rest)

    def _bring_home(self, interface: OpenSeesInterface, name: str) -> tuple[Path | None, str]:
        """The folder of verified results, or None and why not."""
        exit_code = self._wait_for_push(interface, name)
        if exit_code not in (0, PUSHED_WITH_GAPS):
            return None, f"the results could not be pushed to the bucket (push-results: exit code {exit_code})"
        prefix = names.result_prefix(self._batch, name, ATTEMPT)
        found = ResultSet(batch=self._batch, job=name, attempt=ATTEMPT, prefix=prefix, size_bytes=0)
        gaps = "some files could not be read and were left out" if exit_code == PUSHED_WITH_GAPS else ""
        return bring_home(self._context, found, self._listener), gaps

    def _wait_for_push(self, interface: OpenSeesInterface, name: str) -> int | None:
        """The exit code of the push; None if it did not end in time."""
        give_up_at = self._context.monotonic() + PUSH_LIMIT_S
        delay_s = FIRST_PUSH_LOOK_S
        while self._context.monotonic() < give_up_at:
            output = interface.get_job_output(name)
            if output is not None and output.on_end_exit_code is not None:
                return output.on_end_exit_code
            self._context.sleep(delay_s)
            delay_s = min(1.5 * delay_s, LONGEST_PUSH_LOOK_S)
        return None


def _facts(outcome: JobOutcome) -> dict[str, object]:
    return {key: value for key, value in outcome.as_json().items() if key not in ("name", "status")}
