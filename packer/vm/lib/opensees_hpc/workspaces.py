"""The jobs on this VM, through the job manager that the client left in their workspace (``runner/hardware/remote``).

Everything is done as the user whose workspace it is, never as root: what a job left there must not gain root's rights.
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
# Exit codes of push-results after which trying again changes nothing: done, done with gaps, wrong words, other content, no end, no folder, no image.
FINAL_CODES = frozenset({"0", "2", "3", "5", "7", "66", "69"})


class ManagerError(Exception):
    """The job manager could not be asked, or said no."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A line of the manager's status. ``after``: of the push after the end: ``-`` none, running, lost, or its exit code."""

    name: str
    phase: str
    how: str
    after: str

    @property
    def is_running(self) -> bool:
        """Whether its program, or what begins it, runs."""
        return self.phase in ("running", "submitted")

    @property
    def is_pushing(self) -> bool:
        """Whether what comes after its end runs now."""
        return self.phase == "end" and self.after == "running"

    @property
    def needs_push(self) -> bool:
        """Whether it came to its end and its results are not in the bucket yet."""
        return self.phase == "end" and self.how != "lost" and self.after not in {"-", "running", *FINAL_CODES}


class Workspace:
    """A workspace of the batch. ``scripts``: where our own shell scripts are; ``owner``: of the home that it is in. Methods
    raise ManagerError."""

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
        """Write down for every job that has not ended that its end, when it comes, is the machine's. Quick."""
        self._run(self._scripts / "condemn_jobs.sh", str(self.path))

    def stop(self, names: Sequence[str]) -> None:
        """End these jobs with all their processes; returns when they are gone."""
        if names:
            self._run(self._manager, "cancel", *names)

    def apply_deadlines(self, deadlines: Mapping[str, float]) -> list[str]:
        """Move the deadlines of attempts of these jobs that have another one; the names of those jobs."""
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
        """Run again what is to be run after the end of a job."""
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
    """Return the job of which this is the folder of one attempt, as the client names it (``<job>.a<number>``); '' if it is none."""
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
    """Return the workspaces of a batch in all homes below ``root``."""
    found = []
    for home in sorted([*root.glob("home/*"), root / "root"]):
        path = home / APP / batch
        if manager := _newest_manager(path):
            # Whose home it is, root has decided; what is in it may be a link to a folder of somebody else's.
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
    """Pushes of what is finished and not in the bucket yet, all at once, until ``until`` (monotonic)."""

    def __init__(self, workspaces: Sequence[Workspace], until: float) -> None:
        self._workspaces = workspaces
        self._until = until
        self._running: dict[tuple[Path, str], subprocess.Popen[bytes]] = {}
        self._done: set[tuple[Path, str]] = set()  # not all of them could be written down, if the disk is full
        self.trouble = ""

    def step(self) -> bool:
        """Begin pushes that are due; return whether there is something left to wait for, and time for it."""
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
