"""A simulation script on a Unix server, run once for each job: the interface that UQ code uses."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Unpack

from runner.errors import RemoteError, SimulatorOutputParsingError
from runner.hardware.bundle import Bundle, BundleFile, check_folder_name
from runner.hardware.connect import FilePath, SshOptions
from runner.hardware.job import JobLike
from runner.hardware.remote_state import How, Phase, RemoteState
from runner.hardware.status import JobStatus
from runner.hardware.workspace_interface import WorkspaceInterface

INPUT_NAME = "input.csv"
OUTPUT_NAME = "output.txt"
GRACE_S = 5
_LONGEST_OUTPUT_BYTES = 1 << 16
_HOME_PREFIXES = ("~/", "$HOME/", "${HOME}/")


class UnixServerScriptInterface(WorkspaceInterface[JobLike]):
    """Runs ``<program> <script_path> <input.csv> <output.txt>`` on a Unix server for each job.

    ``program`` may hold arguments, quoted as for a shell; a word of it that begins with ``~/`` or ``$HOME/`` means the remote home. The script gets
    the path of a CSV file with one line of numbers, and writes one number to the path of the output file; it runs in the folder in which an SSH
    session begins, and relative paths are meant from there. Workspace: ``workspace_dir``, created if it is not there (jobs in it are
    found again); None: a new folder ``exauqXXXXX`` beside the script. In it each job has a folder, named by its ID.

    Raises: ValueError for more than one way to authenticate; HardwareInterfaceFailureError when the server fails.
    """

    def __init__(
        self,
        user: str,
        host: str,
        program: str,
        script_path: FilePath,
        name: str,
        level: int = 1,
        workspace_dir: FilePath | None = None,
        key_filename: FilePath | None = None,
        ssh_config_path: FilePath | None = None,
        use_ssh_agent: bool | None = False,
        max_attempts: int = 3,
        **options: Unpack[SshOptions],
    ) -> None:
        self._program = _split_program(program)
        self._script = str(script_path)
        self._log_name = f"{PurePosixPath(self._script).name}.out"
        beside = str(PurePosixPath(self._script).parent)
        super().__init__(
            user,
            host,
            name,
            level,
            workspace_path=beside if workspace_dir is None else str(workspace_dir),
            new_workspace_beside=workspace_dir is None,
            key_filename=key_filename,
            ssh_config_path=ssh_config_path,
            use_ssh_agent=use_ssh_agent,
            max_attempts=max_attempts,
            **options,
        )

    def get_job_output(self, job_id: object) -> float | None:
        """Return the number that the script wrote; None if the job has not completed.

        Raises: SimulatorOutputParsingError if what it wrote is not one number.
        """
        name = check_folder_name(str(job_id))
        state, size, content = self._workspace.read(name, OUTPUT_NAME, _LONGEST_OUTPUT_BYTES)
        self._check_readable(name, state)
        if state.phase is not Phase.END or self._judge(state) is not JobStatus.COMPLETED or size is None:
            return None
        if size > len(content):
            raise SimulatorOutputParsingError(f"the output of job {name} is {size} bytes long, and not one number")
        return parse_output(name, content)

    def delete_remote_job_dir(self, job_id: object) -> None:
        """Remove the folder of a job that has ended. Its ID is then free.

        Raises: ValueError if it was not submitted or has not ended.
        """
        name = check_folder_name(str(job_id))
        answer = self._workspace.delete([name])[name]
        if answer.outcome == "none":
            raise ValueError(f"cannot delete the folder of job {name}: it was not submitted")
        if answer.outcome == "busy":
            raise ValueError(f"cannot delete the folder of job {name}: {answer.why}")
        if answer.outcome != "ok":
            raise RemoteError(f"the folder of job {name} could not be deleted: {answer.why}", host=self.host)

    def delete_workspace(self) -> None:
        """Remove the workspace with all jobs in it. Running jobs are not waited for and lose their files."""
        self._workspace.remove()

    def _judge(self, state: RemoteState) -> JobStatus:
        if state.end is None:
            return JobStatus.FAILED
        if state.end.how is How.CANCELLED:
            return JobStatus.CANCELLED
        return JobStatus.COMPLETED if state.end.has_output else JobStatus.FAILED

    def _make_bundle(self, job: JobLike) -> Bundle:
        name = check_folder_name(str(job.id))
        folder = f"{self.workspace_dir}/{name}"
        words = [
            *(_shell_program_word(word) for word in self._program),
            _shell_path(self._script, self._workspace.session_dir),
            shlex.quote(f"{folder}/{INPUT_NAME}"),
            shlex.quote(f"{folder}/{OUTPUT_NAME}"),
        ]
        return Bundle(
            name=name,
            settings=f"cd -- {shlex.quote(self._workspace.session_dir)} || exit 125\nset -- {' '.join(words)}\n",
            log_name=self._log_name,
            files=(BundleFile(path=INPUT_NAME, source=csv_line(job.data)),),
            output_name=OUTPUT_NAME,
            grace_s=GRACE_S,
        )


def csv_line(numbers: Sequence[float] | None) -> bytes:
    """Return the input file: one line of numbers.

    Raises: ValueError for what is not a real number.
    """
    shown = []
    for number in () if numbers is None else numbers:
        if isinstance(number, str | bytes) or not _is_real(number):
            raise ValueError(f"{number!r} is not a real number: a job's data are numbers")
        shown.append(str(number))
    return (",".join(shown) + "\n").encode()


def _is_real(number: object) -> bool:
    try:
        math.isnan(number)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return isinstance(number, int)
    return True


def parse_output(name: str, content: bytes) -> float:
    """Return the one number in an output file.

    Raises: SimulatorOutputParsingError.
    """
    try:
        return float(content.decode("utf-8"))
    except ValueError as error:
        shown = content[:80].decode("utf-8", "replace").strip()
        raise SimulatorOutputParsingError(f"the output of job {name} is not one number: {shown!r}") from error


def _split_program(program: str) -> tuple[str, ...]:
    words = tuple(shlex.split(str(program)))
    if not words:
        raise ValueError("'program' is empty: it is the program that runs the script, such as 'python3' or 'bash'")
    return words


def _shell_program_word(word: str) -> str:
    for prefix in _HOME_PREFIXES:
        if word.startswith(prefix):
            return '"$HOME"/' + shlex.quote(word.removeprefix(prefix))
    return shlex.quote(word)


def _shell_path(path: str, base: str) -> str:
    if path.startswith("~/"):
        return '"$HOME"/' + shlex.quote(path.removeprefix("~/"))
    return shlex.quote(path if path.startswith("/") else f"{base}/{path}")
