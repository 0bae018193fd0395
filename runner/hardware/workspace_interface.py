"""The common part of all interfaces for jobs in a remote workspace: IDs, statuses and errors in Python's terms, many jobs at once."""

from __future__ import annotations

import codecs
import threading
import time
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar, Unpack

from runner.errors import RemoteError
from runner.hardware.bundle import Bundle, check_folder_name
from runner.hardware.connect import FilePath, SSHInterface, SshOptions
from runner.hardware.refusals import raise_refusals
from runner.hardware.remote_state import Phase, RemoteState
from runner.hardware.status import JobStatus
from runner.hardware.watch import UNTIL_AFTER, UNTIL_END, LogPiece, Subscription, Watcher
from runner.hardware.workspace import Answer, attach_workspace

JobT = TypeVar("JobT")
_RUNNING = {Phase.SUBMITTED, Phase.RUNNING}


class WorkspaceInterface(SSHInterface, Generic[JobT]):
    """Jobs in folders of a remote workspace. All state is there: any number of these, in any threads and on any computers, may share one.

    Raises: HardwareInterfaceFailureError from every method when the host does not answer.
    """

    def __init__(
        self,
        user: str,
        host: str,
        name: str,
        level: int = 1,
        *,
        workspace_path: str,
        new_workspace_beside: bool = False,
        key_filename: FilePath | None = None,
        ssh_config_path: FilePath | None = None,
        use_ssh_agent: bool | None = False,
        max_attempts: int = 3,
        **options: Unpack[SshOptions],
    ) -> None:
        super().__init__(user, host, name, level, key_filename, ssh_config_path, use_ssh_agent, max_attempts, **options)
        self._failed_submits: set[str] = set()
        self._failed_cancels: set[str] = set()
        self._memory = threading.Lock()
        try:
            self._workspace, self._found = attach_workspace(
                self._connection, workspace_path, beside=new_workspace_beside
            )
        except BaseException:
            self._connection.close()
            raise
        self._watcher = Watcher(self._connection, self._workspace.watch_line)

    @abstractmethod
    def _make_bundle(self, job: JobT) -> Bundle:
        """Return a job as the remote side needs it. Raises: ValueError, InputError."""

    @abstractmethod
    def _judge(self, state: RemoteState) -> JobStatus:
        """Return the status of a job that has ended."""

    @property
    def workspace_dir(self) -> str:
        """(Read-only) The workspace's path on the host."""
        return self._workspace.path

    @property
    def jobs_found(self) -> tuple[str, ...]:
        """The IDs of the jobs that were in the workspace when this object was created."""
        return tuple(self._found)

    def submit_job(self, job: JobT, resubmit: bool = False) -> None:
        """Start a job. It may end before this returns.

        Raises: ValueError if its ID was submitted and ``resubmit`` is False, or has not ended (or is not known) and ``resubmit`` is True;
        HardwareInterfaceFailureError if it could not be transferred: nothing of it is left on the host, and the ID is free.
        """
        self.submit_jobs([job], resubmit=resubmit)

    def submit_jobs(self, jobs: Iterable[JobT], resubmit: bool = False) -> None:
        """Start many jobs in one round trip. Each one starts or fails on its own; the error names all that failed and has them as ``refused``.

        Raises: as ``submit_job``.
        """
        bundles = [self._make_bundle(job) for job in jobs]
        names = [bundle.name for bundle in bundles]
        if len(set(names)) < len(names):
            raise ValueError(f"two jobs have the same ID: {sorted({name for name in names if names.count(name) > 1})}")
        if not bundles:
            return
        mode = "new" if not resubmit else "any" if self._failed_submits.intersection(names) else "again"
        try:
            answers = self._workspace.submit(bundles, mode=mode)
        except RemoteError:
            self._note_failed_submits(names)
            raise
        self._note_answers(answers)
        raise_refusals(answers, resubmit=resubmit, host=self.host)

    def _note_failed_submits(self, names: Iterable[str]) -> None:
        with self._memory:
            self._failed_submits.update(names)

    def _note_answers(self, answers: dict[str, Answer]) -> None:
        with self._memory:
            for name, answer in answers.items():
                if answer.outcome == "failed":
                    self._failed_submits.add(name)
                elif answer.outcome == "ok":
                    self._failed_submits.discard(name)
                    self._failed_cancels.discard(name)

    def get_job_status(self, job_id: object) -> JobStatus:
        """Return the status of a job; PENDING_SUBMIT if it is not there.

        Raises: HardwareInterfaceFailureError if its state cannot be read: a status is never guessed."""
        name = check_folder_name(str(job_id))
        return self._status(name, self._workspace.states([name])[name])

    def get_job_statuses(self, job_ids: Iterable[object] | None = None) -> dict[str, JobStatus]:
        """Return the statuses of these jobs (None: all in the workspace) by the text of the ID, in one round trip. Raises: as ``get_job_status``."""
        names = None if job_ids is None else [check_folder_name(str(job_id)) for job_id in job_ids]
        return {name: self._status(name, state) for name, state in self._workspace.states(names).items()}

    def _status(self, name: str, state: RemoteState) -> JobStatus:
        self._check_readable(name, state)
        if state.phase is Phase.END:
            return self._judge(state)
        if state.phase is Phase.NONE:
            return JobStatus.FAILED_SUBMIT if name in self._failed_submits else JobStatus.PENDING_SUBMIT
        if name in self._failed_cancels:
            return JobStatus.FAILED_CANCEL
        return JobStatus.RUNNING

    def _check_readable(self, name: str, state: RemoteState) -> None:
        if state.phase is Phase.UNKNOWN:
            host = self._connection.target
            raise RemoteError(
                f"the state of job {name} on {host.label} cannot be read: {state.unreadable}",
                host=host.host,
                remedy=f"look at the files in {self.workspace_dir}/{name}/.job on the host",
            )

    def cancel_job(self, job_id: object) -> None:
        """End a job and all processes that it started (SIGTERM, a grace period, SIGKILL); return when they have ended. Does nothing if it has ended.

        Raises: HardwareInterfaceFailureError if some still run.
        """
        self.cancel_jobs([job_id])

    def cancel_jobs(self, job_ids: Iterable[object]) -> dict[str, JobStatus]:
        """End many jobs at once, as ``cancel_job``. Return their statuses."""
        names = [check_folder_name(str(job_id)) for job_id in job_ids]
        states = self._workspace.cancel(names) if names else {}
        left = [name for name, state in states.items() if state.phase in _RUNNING]
        with self._memory:
            self._failed_cancels.update(left)
        if left:
            message = f"these jobs could not be ended on {self._connection.target.label}: {', '.join(left)}"
            raise RemoteError(message, host=self._connection.target.host, remedy="look at their processes on the host")
        return {name: self._status(name, state) for name, state in states.items()}

    def wait(
        self, job_ids: Iterable[object], timeout: float | None = None, *, after: bool = False
    ) -> dict[str, JobStatus]:
        """Wait until these jobs have ended, at most ``timeout`` seconds. Return the statuses of all, including those that still run.

        ``after``: also until the commands that run after their ends have ended.
        """
        names = list(dict.fromkeys(check_folder_name(str(job_id)) for job_id in job_ids))
        give_up_at = None if timeout is None else time.monotonic() + timeout
        waits = self._watcher.subscribe([(name, UNTIL_AFTER if after else UNTIL_END) for name in names])
        statuses = dict.fromkeys(names, JobStatus.RUNNING)
        try:
            for subscription in waits:
                state = subscription.get(None if give_up_at is None else max(0.0, give_up_at - time.monotonic()))
                if isinstance(state, RemoteState):
                    statuses[subscription.name] = self._status(subscription.name, state)
        except TimeoutError:
            return self.get_job_statuses(names)
        finally:
            self._watcher.drop_all(waits)
        return statuses

    def follow(self, job_id: object, from_byte: int = 0) -> Iterator[str]:
        """Yield the job's log (its stdout and stderr, in order) as text while it grows, from ``from_byte`` until the job has ended.

        Resumes after a lost connection where it stopped. Raises: ValueError if there is no such job.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in self.follow_bytes(job_id, from_byte):
            text = decoder.decode(piece.content)
            if text:
                yield text
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest

    def follow_bytes(self, job_id: object, from_byte: int = 0) -> Iterator[LogPiece]:
        """Yield the log as ``follow`` does, in bytes, each piece with its offset."""
        name = check_folder_name(str(job_id))
        [subscription] = self._watcher.subscribe([(name, from_byte)])
        try:
            end = yield from _pieces(subscription)
            self._check_readable(name, end)
        finally:
            subscription.close()

    def close(self) -> None:
        """Close the connection; ``wait`` and ``follow`` in other threads raise. Jobs keep running."""
        self._watcher.close()
        super().close()


def _pieces(subscription: Subscription) -> Generator[LogPiece, None, RemoteState]:
    while isinstance(event := subscription.get(), LogPiece):
        yield event
    if event.phase is Phase.NONE:
        raise ValueError(f"job {subscription.name} was not submitted")
    return event
