"""OpenSees jobs over SSH: the interface that ``invoke run`` uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from runner.errors import InputError
from runner.hardware.bundle import (
    Bundle,
    BundleFile,
    check_file_path,
    check_folder_name,
    shell_exports,
    shell_words,
)
from runner.hardware.connect import FilePath, SshOptions
from runner.hardware.remote_state import How, Phase, RemoteState
from runner.hardware.status import JobStatus
from runner.hardware.workspace_interface import WorkspaceInterface
from runner.model.names import STATE_FOLDER, STATUS_VARIABLE, is_job_name

DEFAULT_WORKSPACE = "opensees-hpc/jobs"
LOG_NAME = "opensees-hpc.log"
GRACE_S = 5
# Where the image has its programs; a script of ours finds everything below this one folder.
STATUS_FILE = f"{STATE_FOLDER}/status"  # its format, which the programs of the image write: packer/README.md
_STATUS = f'{STATUS_VARIABLE}="$PWD/{STATUS_FILE}"\nexport {STATUS_VARIABLE}\n'
_PREFIX = 'PATH="${OPENSEES_HPC_PREFIX:-/opt/opensees-hpc}/bin:$PATH"\nexport PATH\n'


@dataclass(frozen=True, kw_only=True)
class OpenSeesJob:
    """One analysis. ``files``: relative POSIX paths in the local ``folder``, copied to the job's remote folder, where ``main`` runs on ``np`` processes.

    ``timeout_s`` is kept by the remote side. ``command`` replaces the one chosen by ``main``'s ending. ``on_end``: runs detached in the job's folder
    after the end is recorded, whatever the end was.
    """

    id: str
    folder: Path
    files: tuple[str, ...]
    main: str
    np: int
    args: tuple[str, ...] = ()
    timeout_s: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    on_end: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """The results of a job. ``exit_code`` is None if it is not known (killed supervisor, reboot). ``core_s``: processor time of all its processes that were
    waited for. ``on_end_exit_code``: None while that command runs or if there is none, -1 if it was killed. Paths are remote.
    """

    status: JobStatus
    exit_code: int | None
    timed_out: bool
    wall_s: float
    core_s: float | None
    folder: str
    log_path: str
    log_bytes: int
    last_lines: tuple[str, ...]
    has_on_end: bool
    on_end_exit_code: int | None
    on_end_log_path: str


class OpenSeesInterface(WorkspaceInterface[OpenSeesJob]):
    """Runs OpenSees jobs on a host that has the image's programs. Safe for many threads.

    Raises: as SSHInterface; HardwareInterfaceFailureError if the workspace cannot be used.
    """

    def __init__(
        self,
        user: str,
        host: str,
        name: str = "opensees",
        level: int = 1,
        workspace_dir: str = DEFAULT_WORKSPACE,
        key_filename: FilePath | None = None,
        ssh_config_path: FilePath | None = None,
        use_ssh_agent: bool | None = False,
        max_attempts: int = 3,
        **options: Unpack[SshOptions],
    ) -> None:
        super().__init__(
            user,
            host,
            name,
            level,
            workspace_path=workspace_dir,
            key_filename=key_filename,
            ssh_config_path=ssh_config_path,
            use_ssh_agent=use_ssh_agent,
            max_attempts=max_attempts,
            **options,
        )

    def get_job_output(self, job_id: object, last_lines: int = 20) -> JobOutput | None:
        """Return how the job ended and where its files are; None if it has not ended (or never began)."""
        name = check_folder_name(str(job_id))
        state, size, tail = self._workspace.show(name, LOG_NAME, last_lines)
        self._check_readable(name, state)
        if state.phase is not Phase.END or state.end is None:
            return None
        folder = f"{self.workspace_dir}/{name}"
        return JobOutput(
            status=self._judge(state),
            exit_code=state.end.exit_code,
            timed_out=state.end.how is How.TIMEOUT,
            wall_s=state.end.wall_s,
            core_s=state.end.core_s,
            folder=folder,
            log_path=f"{folder}/{LOG_NAME}",
            log_bytes=size or 0,
            last_lines=tuple(tail.decode("utf-8", "replace").splitlines()),
            has_on_end=state.has_after,
            on_end_exit_code=state.after,
            on_end_log_path=f"{folder}/{STATE_FOLDER}/after.log",
        )

    def extend_jobs(self, job_ids: list[str], timeout_s: float) -> dict[str, JobStatus]:
        """Move the deadlines of running jobs that have one to ``timeout_s`` after their start."""
        names = [check_folder_name(job_id) for job_id in job_ids]
        return {
            name: self._status(name, state) for name, state in self._workspace.extend(names, round(timeout_s)).items()
        }

    def delete_jobs(self, job_ids: list[str]) -> None:
        """Remove the folders of jobs that have ended. Jobs that do not exist are skipped.

        Raises: ValueError for those that have not ended.
        """
        answers = self._workspace.delete([check_folder_name(job_id) for job_id in job_ids])
        kept = {name: answer.why for name, answer in answers.items() if answer.outcome in {"busy", "failed"}}
        if kept:
            raise ValueError("cannot delete " + "; ".join(f"{name}: {why}" for name, why in kept.items()))

    def _judge(self, state: RemoteState) -> JobStatus:
        if state.end is None or state.end.how in {How.TIMEOUT, How.LOST}:
            return JobStatus.FAILED
        if state.end.how is How.CANCELLED:
            return JobStatus.CANCELLED
        return JobStatus.COMPLETED if state.end.exit_code == 0 else JobStatus.FAILED

    def _make_bundle(self, job: OpenSeesJob) -> Bundle:
        if not is_job_name(job.id):
            raise ValueError(
                f"{job.id!r} cannot be the name of a job: letters, digits, _ - and single dots, at most 63"
            )
        if job.np < 1:
            raise ValueError(f"job {job.id}: np is {job.np}, and must be at least 1")
        return Bundle(
            name=job.id,
            settings=_PREFIX
            + _STATUS
            + "PYTHONUNBUFFERED=1\nexport PYTHONUNBUFFERED\n"
            + shell_exports(job.environment)
            + shell_words(choose_command(job)),
            log_name=LOG_NAME,
            files=tuple(_local_file(job, path) for path in job.files),
            timeout_s=job.timeout_s,
            grace_s=GRACE_S,
            reap=True,
            on_end=_PREFIX + shell_exports(job.environment) + shell_words(job.on_end) if job.on_end else None,
        )


def choose_command(job: OpenSeesJob) -> tuple[str, ...]:
    """Return the command of a job: its own, or that for the suffix of its main file.

    Raises: ValueError if there is none for the suffix.
    """
    if job.command:
        return job.command
    if job.main.endswith(".tcl"):
        return ("openseesmp", str(job.np), job.main, *job.args)
    if job.main.endswith(".py"):
        return ("openseespy", "-n", str(job.np), job.main, *job.args)
    raise ValueError(f"job {job.id}: {job.main!r} ends in neither .tcl nor .py, and no command is given")


def _local_file(job: OpenSeesJob, path: str) -> BundleFile:
    check_file_path(path)
    if path == LOG_NAME:
        raise ValueError(f"job {job.id}: {path} is the name of the job's log")
    source = job.folder / path
    if not source.is_file():
        raise InputError(f"job {job.id}: the file {source} does not exist")
    return BundleFile(path=path, source=source, executable=os.access(source, os.X_OK))
