"""The preflight: what a jobs file names must be there, and lie inside its folder. No cloud is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputError, InputProblem
from runner.model.batch import Batch, Job, parse_batch

ALWAYS_UPLOADED = ("*.tcl", "*.cdata", "*.pltbg")


@dataclass(frozen=True, kw_only=True)
class JobInputs:
    """A job and the files that it needs: POSIX paths relative to its folder, sorted."""

    job: Job
    files: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class CheckedBatch:
    """A batch whose every file is there."""

    batch: Batch
    inputs: tuple[JobInputs, ...]


def check_batch(jobs_file: Path) -> CheckedBatch:
    """Read a jobs file and look for everything that it names.

    Raises:
        InputError: everything that is wrong, each with file, line, column and remedy.
    """
    try:
        text = jobs_file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{jobs_file}: no such jobs file", remedy="give a path, as in --jobs jobs/batch1.yaml"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{jobs_file}: cannot be read: {error}") from error
    batch = parse_batch(text, jobs_file)
    problems: list[InputProblem] = []
    inputs: list[JobInputs] = []
    for job in batch.jobs:
        found = list(_problems(job, batch))
        problems += [problem for problem in found if problem not in problems]
        if not found:
            inputs.append(_inputs(job))
    if problems:
        raise InputError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return CheckedBatch(batch=batch, inputs=tuple(inputs))


def _problems(job: Job, batch: Batch) -> Iterator[InputProblem]:
    at = ("jobs", job.entry)
    if not job.folder.is_dir():
        what = "is not a folder" if job.folder.exists() else "does not exist"
        yield batch.source.problem((*at, "dir"), f"the folder {job.folder} {what}", "dir is relative to the jobs file")
        return
    main = job.folder / job.main
    if not main.is_file():
        there = ", ".join(sorted(path.name for path in job.folder.glob("*.tcl"))[:5]) or "no .tcl file"
        yield batch.source.problem((*at, "main"), f"{main} does not exist", f"the folder has {there}")
    elif not _is_inside(main, job.folder):
        yield batch.source.problem((*at, "main"), f"{main} is a link that leads out of its folder", "copy the file")
    for index, pattern in enumerate(job.include):
        place = (*at, "include", index) if (*at, "include") in batch.source.marks else ("defaults", "include", index)
        matches = [path for path in job.folder.glob(pattern) if path.is_file()]
        if not matches:
            yield batch.source.problem(place, f"{pattern!r} matches no file in {job.folder}", "correct the pattern")
        for path in matches:
            if not _is_inside(path, job.folder):
                yield batch.source.problem(place, f"{path} is a link that leads out of its folder", "copy the file")


def _inputs(job: Job) -> JobInputs:
    patterns = (*ALWAYS_UPLOADED, *job.include)
    found = {path for pattern in patterns for path in job.folder.glob(pattern) if path.is_file()}
    found = {path for path in found if _is_inside(path, job.folder)} | {job.folder / job.main}
    relative = sorted(path.relative_to(job.folder).as_posix() for path in found)
    return JobInputs(job=job, files=tuple(relative), size_bytes=sum(path.stat().st_size for path in found))


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
