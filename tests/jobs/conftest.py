"""Runs the shipped models as a VM runs them: in a folder that holds only what is uploaded, by the wheels' prefix."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.model.batch import Batch, Job, parse_batch
from tests.prefix import opensees_prefix

__all__ = ["opensees_prefix"]

JOBS = Path(__file__).parents[2] / "jobs"
ALWAYS_UPLOADED = ("*.tcl", "*.cdata", "*.pltbg")
LIMIT_S = 120


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """A model that has ended: where, how, and all that it printed."""

    folder: Path
    exit_code: int
    output: str

    def columns(self, name: str) -> list[list[float]]:
        """The rows of a recorder file."""
        return [[float(value) for value in line.split()] for line in (self.folder / name).read_text().splitlines()]

    def table(self, name: str) -> list[dict[str, str]]:
        """The rows of a CSV file with a header."""
        header, *rows = (self.folder / name).read_text().splitlines()
        return [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]


RunJob = Callable[..., ModelRun]


def read_batch(name: str) -> Batch:
    """One of the shipped jobs files."""
    return parse_batch((JOBS / name).read_text(encoding="utf-8"), JOBS / name)


def command_of(job: Job, prefix: Path, np: int) -> list[str]:
    """What a VM runs for this job."""
    if job.main.endswith(".py"):
        return [str(prefix / "bin" / "openseespy"), *(["-n", str(np)] if np > 1 else []), job.main, *job.args]
    return [str(prefix / "bin" / "openseesmp"), str(np), job.main, *job.args]


def copy_inputs(job: Job, to: Path) -> None:
    """Copy what is uploaded for a job: the fixed patterns, its main file and what it includes."""
    for pattern in (*ALWAYS_UPLOADED, job.main, *job.include):
        for file in job.folder.glob(pattern):
            target = to / file.relative_to(job.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)


@pytest.fixture
def run_job(opensees_prefix: Path, tmp_path: Path) -> RunJob:
    """``run_job(batch_file, job_name, np=None)``: run one job of a shipped batch for real."""

    def run(batch_file: str, job_name: str, np: int | None = None) -> ModelRun:
        job = next(job for job in read_batch(batch_file).jobs if job.name == job_name)
        folder = tmp_path / f"{job.name} {np or job.np}"
        copy_inputs(job, folder)
        done = subprocess.run(
            command_of(job, opensees_prefix, np or job.np),
            cwd=folder,
            env={**os.environ, "OPENSEES_HPC_PREFIX": str(opensees_prefix)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
        return ModelRun(folder=folder, exit_code=done.returncode, output=done.stdout)

    return run
