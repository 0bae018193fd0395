"""The batch of a drill: a few analyses of a few seconds, and what their results must be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.results import DownloadTracker

MODEL = Path(__file__).resolve().parent / "model"
STEP_S = 0.25
JOBS_FILE = """\
batch: {batch}
jobs:
{jobs}
machines: {{max_vms: {vms}, fallback: standard}}
"""
JOB = '  - {{name: "j-{number}", dir: model, args: {args}, timeout_min: 5}}\n'
FAILURE_EXIT_CODE = 3


@dataclass(frozen=True, kw_only=True)
class DrillBatch:
    """``durations_s``: of its analyses, one each. ``vms``: how many there are at most at a time.

    ``witness``: the file of the host that hears of each begin and end; None for none. ``failing``: the analyses that fail on
    purpose, after they have left their file.
    """

    name: str
    durations_s: Sequence[float] = (0.5, 0.5, 3.0)
    vms: int = 2
    witness: Path | None = None
    failing: Collection[str] = ()

    @property
    def jobs(self) -> list[str]:
        """The names of its jobs."""
        return [f"j-{number}" for number in range(len(self.durations_s))]

    def write(self, folder: Path) -> Path:
        """Write the jobs file, and its model beside it; return the file."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(MODEL, folder / "model", dirs_exist_ok=True)
        jobs = [JOB.format(number=number, args=json.dumps(self._args(number))) for number in range(len(self.jobs))]
        file = folder / "jobs.yaml"
        text = JOBS_FILE.format(batch=self.name, jobs="".join(jobs).rstrip("\n"), vms=self.vms)
        file.write_text(text, encoding="utf-8")
        return file

    def _args(self, number: int) -> list[str]:
        """Return the analysis's own arguments, as its model reads them."""
        code = FAILURE_EXIT_CODE if self.jobs[number] in self.failing else 0
        steps = str(round(self.durations_s[number] / STEP_S))
        return [str(number), steps, *([str(self.witness), str(code)] if self.witness else [])]

    def attempts_at_home(self, results: Path) -> dict[str, int]:
        """Return the jobs whose results were downloaded, with the attempt that is there."""
        found = {job: DownloadTracker(results / self.name).find(job) for job in self.jobs}
        return {job: home.attempt for job, home in found.items() if home is not None}

    def problems_at_home(self, results: Path) -> list[str]:
        """Return what is wrong with the results that are there; nothing about those that are not."""
        problems = []
        for job in self.jobs:
            # The first attempt that came home has the job's name; another one would have its number, too.
            folders = sorted([*(results / self.name).glob(job), *(results / self.name).glob(f"{job}.*")])
            if len(folders) > 1:
                problems.append(f"{job} was downloaded {len(folders)} times")
            for folder in folders:
                wanted = f"job {job.removeprefix('j-')}\n"
                file = folder / "out.txt"
                if not file.is_file() or file.read_text(encoding="utf-8") != wanted:
                    problems.append(f"{folder.name}/out.txt is not what the analysis wrote")
        return problems
