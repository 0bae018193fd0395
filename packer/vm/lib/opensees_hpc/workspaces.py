"""The jobs on this VM, through the job manager that the client installed in their workspace (``runner/hardware/remote``).

Everything runs as the owner of the workspace, never as root: files that a job left there must not gain root's rights.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .shared_names import APP, ATTEMPT_MARK, DEADLINE_FILE, END_FILE, WORKSPACE_CONTROL_FOLDER

MANAGER_LIMIT_S = 120.0
# Exit codes of push-results after which a retry changes nothing: complete, complete except for unreadable files, wrong arguments, other
# content, job not ended, no folder, incomplete image.
FINAL_CODES = frozenset({"0", "2", "3", "5", "7", "66", "69"})


class ManagerError(Exception):
    """The job manager could not be run, or failed."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A line of the manager's status. ``after``: of the push after the end: ``-`` none, running, lost, or its exit code."""

    name: str
    phase: str
    how: str
    after: str

    @property
    def is_running(self) -> bool:
        """Whether it is running or about to start."""
        return self.phase in ("running", "submitted")

    @property
    def is_pushing(self) -> bool:
        """Whether the push after its end is running."""
        return self.phase == "end" and self.after == "running"

    @property
    def needs_push(self) -> bool:
        """Whether it has ended and its results are not in the bucket yet."""
        return self.phase == "end" and self.how != "lost" and self.after not in {"-", "running", *FINAL_CODES}


class Workspace:
    """A workspace of the batch. ``scripts``: the folder of our own shell scripts; ``owner``: of the home folder that it is in.
    Methods raise ManagerError."""

    def __init__(self, path: Path, manager: Path, scripts: Path, owner: os.stat_result) -> None:
        self.path = path
        self.owner = owner
        self._manager = manager
        self._scripts = scripts

    def states(self) -> list[JobState]:
        """Return the states of all jobs."""
        lines = self._run(self._manager, "status").splitlines()
        return [_parse_state(line) for line in lines if line.count("\t") >= 2]

    def condemn_running(self) -> None:
        """Record for every running job that, when it ends, the VM has ended it. Returns at once."""
        self._run(self._scripts / "condemn_jobs.sh", str(self.path))

    def stop(self, names: Sequence[str]) -> None:
        """End these jobs with all their processes; return when they are gone."""
        if names:
            self._run(self._manager, "cancel", *names)

    def apply_deadlines(self, deadlines: Mapping[str, float]) -> list[str]:
        """Change deadlines of these jobs' attempts that differ; return the names of the jobs that were changed."""
        moved = []
        for file in sorted(self.path.glob(f"*/{DEADLINE_FILE}")):
            folder = file.parents[1].name
            job = job_of_attempt(folder)
            if job not in deadlines or (self.path / folder / END_FILE).exists():
                continue
            wanted = str(round(deadlines[job]))
            if _read_line(file) not in (None, wanted):
                self._run(self._manager, "extend", wanted, folder)
                moved.append(job)
        return moved

    def begin_push(self, name: str) -> subprocess.Popen[bytes]:
        """Repeat the push that follows the end of a job."""
        words = ["/bin/sh", str(self._scripts / "after_end.sh"), str(self.path / name)]
        with _as_manager_error("a push"):
            return subprocess.Popen(  # noqa: S603
                words, stdin=subprocess.DEVNULL, start_new_session=True, **self._as_owner()
            )

    def _run(self, script: Path, *words: str) -> str:
        with _as_manager_error(f"{script.name} {' '.join(words[:1])}"):
            done = subprocess.run(  # noqa: S603
                ["/bin/sh", str(script), *words],
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=MANAGER_LIMIT_S,
                check=True,
                **self._as_owner(),
            )
        output: bytes = done.stdout
        return output.decode("utf-8", "surrogateescape")

    def _as_owner(self) -> dict[str, Any]:
        owner = self.owner
        if os.geteuid() == owner.st_uid:
            return {}
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def job_of_attempt(folder: str) -> str:
    """Return the job whose attempt has this folder, as the client names it (``<job>.a<number>``); '' if it is not an attempt's."""
    job, mark, number = folder.rpartition(ATTEMPT_MARK)
    return job if mark and number.isdecimal() and number.isascii() else ""


def _read_line(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


@contextmanager
def _as_manager_error(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        raise ManagerError(f"{what}: {error}") from error


def find_workspaces(root: Path, batch: str, scripts: Path) -> list[Workspace]:
    """Return the workspaces of a batch in all home folders below ``root``."""
    found = []
    for home in sorted([*root.glob("home/*"), root / "root"]):
        path = home / APP / batch
        if manager := _newest_manager(path):
            # Root has decided who owns the home folder; its contents may be links to another user's folder.
            found.append(Workspace(path, manager, scripts, home.stat()))
    return found


def _newest_manager(path: Path) -> Path | None:
    managers = list(path.glob(f"{WORKSPACE_CONTROL_FOLDER}/*/manager.sh"))
    return max(managers, key=lambda manager: manager.stat().st_mtime, default=None)


def _parse_state(line: str) -> JobState:
    name, after, state = line.split("\t", 2)
    phase, _, rest = state.partition(" ")
    return JobState(name=name, phase=phase, how=rest.partition(" ")[0], after=after)


class Pushes:
    """Concurrent pushes of finished results that are not in the bucket yet, until ``until`` (monotonic)."""

    def __init__(self, workspaces: Sequence[Workspace], until: float) -> None:
        self._workspaces = workspaces
        self._until = until
        self._running: dict[tuple[Path, str], subprocess.Popen[bytes]] = {}
        self._done: set[tuple[Path, str]] = set()  # on a full disk, not all of their ends could be recorded
        self.trouble = ""

    def step(self) -> bool:
        """Begin pushes that are due; return whether any is left to wait for, and time for it."""
        self._note_ended()
        waiting = bool(self._running)
        for workspace in self._workspaces:
            try:
                waiting = self._step_in(workspace) or waiting
            except ManagerError as error:
                self.trouble, waiting = str(error), True
        return waiting and time.monotonic() < self._until

    def _note_ended(self) -> None:
        for key, push in list(self._running.items()):
            code = push.poll()
            if code is not None:
                del self._running[key]
                if str(code) in FINAL_CODES:
                    self._done.add(key)

    def _step_in(self, workspace: Workspace) -> bool:
        waiting = False
        for state in workspace.states():
            key = (workspace.path, state.name)
            is_due = state.needs_push and key not in self._done
            if is_due and key not in self._running:
                self._running[key] = workspace.begin_push(state.name)
            waiting = waiting or state.is_pushing or is_due
        return waiting
