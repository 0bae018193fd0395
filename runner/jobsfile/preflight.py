"""The preflight: what a jobs file names must exist, inside its folder. No cloud is touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputError, InputProblem
from runner.hardware.opensees import LOG_NAME
from runner.model.batch import Batch, Job, parse_batch
from runner.model.names import STATE_FOLDER
from runner.model.yaml_source import Location, decode_yaml

ALWAYS_UPLOADED = ("*.tcl", "*.cdata", "*.pltbg")


@dataclass(frozen=True, kw_only=True)
class JobInputs:
    """A job and the files that it needs: POSIX paths relative to its folder, sorted."""

    job: Job
    files: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class CheckedBatch:
    """A batch all of whose files exist."""

    batch: Batch
    inputs: tuple[JobInputs, ...]


def check_batch(jobs_file: Path) -> CheckedBatch:
    """Read a jobs file and look for everything that it names.

    Raises:
        InputError: everything that is wrong, each with file, line, column and remedy.
    """
    try:
        data = jobs_file.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{jobs_file}: no such jobs file", remedy="give a path, as in --jobs jobs/batch1.yaml"
        ) from error
    except OSError as error:
        raise InputError(
            f"{jobs_file}: cannot be read: {error.strerror}", remedy="give a file that you may read"
        ) from error
    batch = parse_batch(decode_yaml(data, jobs_file), jobs_file)
    problems: list[InputProblem] = []
    inputs: list[JobInputs] = []
    for job in batch.jobs:
        look = _Look(job, batch)
        problems += [problem for problem in look.problems() if problem not in problems]
        inputs.append(JobInputs(job=job, files=look.files(), size_bytes=look.size_bytes))
    if problems:
        raise InputError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return CheckedBatch(batch=batch, inputs=tuple(inputs))


class _Look:
    """One job's folder: what is wrong with it, and which of its files the job needs."""

    def __init__(self, job: Job, batch: Batch) -> None:
        self._job = job
        self._source = batch.source
        self._at: Location = ("jobs", job.entry)
        self._found: set[Path] = set()
        self.size_bytes = 0

    def files(self) -> tuple[str, ...]:
        """Return what ``problems`` found, relative to the folder."""
        return tuple(sorted(_relative(path, self._job.folder) for path in self._found))

    def problems(self) -> Iterator[InputProblem]:
        """Look for all that the job names, and yield what is wrong."""
        folder = self._job.folder
        why = _why_not(folder, stat.S_ISDIR, "folder", os.R_OK | os.X_OK)
        if why:
            yield self._problem("dir", f"the folder {folder} {why}", "dir is relative to the jobs file")
            return
        yield from self._main_problems()
        for pattern in ALWAYS_UPLOADED:
            yield from self._match_problems(pattern, (*self._at, "dir"), asked=False)
        has_own = (*self._at, "include") in self._source.marks
        at: Location = (*self._at, "include") if has_own else ("defaults", "include")
        for index, pattern in enumerate(self._job.include):
            yield from self._match_problems(pattern, (*at, index), asked=True)

    def _main_problems(self) -> Iterator[InputProblem]:
        folder = self._job.folder
        main = folder / self._job.main
        why = _why_not(main, stat.S_ISREG, "file", os.R_OK)
        if why:
            there = ", ".join(sorted(path.name for path in folder.glob("*.tcl"))[:5]) or "no .tcl file"
            yield self._problem("main", f"{main} {why}", f"the folder has {there}")
        elif not _is_inside(main, folder):
            yield self._problem("main", f"{main} is a link that leads out of its folder", "copy the file")
        elif _is_reserved(main, folder):
            yield self._problem("main", *_reserved_words(main))
        else:
            self._add(main)

    def _match_problems(self, pattern: str, position: Location, *, asked: bool) -> Iterator[InputProblem]:
        """Add what a pattern matches; what it may not match is a problem if the jobs file ``asked`` for it."""
        folder = self._job.folder
        main = folder / self._job.main  # its problems are reported already
        try:
            matches = [path for path in folder.glob(pattern) if path.is_file()]
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            yield self._source.problem(
                position, f"{pattern!r} cannot be searched for in {folder}: {why}", "correct the pattern"
            )
            return
        if asked and not matches:
            yield self._source.problem(position, f"{pattern!r} matches no file in {folder}", "correct the pattern")
        for path in (path for path in matches if path != main):
            if not _is_inside(path, folder):
                if asked:
                    yield self._source.problem(
                        position, f"{path} is a link that leads out of its folder", "copy the file"
                    )
            elif _is_reserved(path, folder):
                if not any(character in pattern for character in "*?["):
                    yield self._source.problem(position, *_reserved_words(path))
            elif not os.access(path, os.R_OK):
                yield self._source.problem(position, f"{path} cannot be read: no permission", "change its permissions")
            else:
                self._add(path)

    def _add(self, path: Path) -> None:
        if path not in self._found:
            self._found.add(path)
            self.size_bytes += path.stat().st_size

    def _problem(self, key: str, message: str, remedy: str) -> InputProblem:
        return self._source.problem((*self._at, key), message, remedy)


def _why_not(path: Path, is_wanted: Callable[[int], bool], wanted: str, access: int) -> str:
    """Return why a path cannot be used as what it should be; empty if it can."""
    try:
        if not is_wanted(path.stat().st_mode):
            return f"is not a {wanted}"
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be used: {getattr(error, 'strerror', None) or error}"
    return "" if os.access(path, access) else "cannot be read: no permission"


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _is_reserved(path: Path, folder: Path) -> bool:
    """Return whether its name is that of a job's log or state, as in the results of an earlier run."""
    relative = path.relative_to(folder)
    return relative.parts[0] == STATE_FOLDER or relative.as_posix() == LOG_NAME


def _reserved_words(path: Path) -> tuple[str, str]:
    return f"{path} has a name that each job needs for its own log and state", "rename the file"
