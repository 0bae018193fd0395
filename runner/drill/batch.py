"""The batch of a drill: a few analyses of a few seconds, and what their results must be."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.core.download_tracker import DownloadTracker

MODEL = Path(__file__).resolve().parent / "model"
STEP_S = 0.25
JOBS_FILE = """\
batch: {batch}
jobs:
{jobs}
machines: {{max_vms: {vms}, fallback: standard}}
"""
JOB = '  - {{name: "j-{number}", dir: model, args: ["{number}", {steps}], timeout_min: 5}}\n'


@dataclass(frozen=True, kw_only=True)
class DrillBatch:
    """``durations_s``: of its analyses, one each. ``vms``: how many there are at most at a time."""

    name: str
    durations_s: Sequence[float] = (0.5, 0.5, 3.0)
    vms: int = 2

    @property
    def jobs(self) -> list[str]:
        """The names of its jobs."""
        return [f"j-{number}" for number in range(len(self.durations_s))]

    def write(self, folder: Path) -> Path:
        """The jobs file, and its model beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(MODEL, folder / "model", dirs_exist_ok=True)
        jobs = [
            JOB.format(number=number, steps=round(seconds / STEP_S)) for number, seconds in enumerate(self.durations_s)
        ]
        file = folder / "jobs.yaml"
        text = JOBS_FILE.format(batch=self.name, jobs="".join(jobs).rstrip("\n"), vms=self.vms)
        file.write_text(text, encoding="utf-8")
        return file

    def attempts_at_home(self, results: Path) -> dict[str, int]:
        """The jobs that are at home, with the attempt that is there."""
        found = {job: DownloadTracker(results / self.name).find(job) for job in self.jobs}
        return {job: home.attempt for job, home in found.items() if home is not None}

    def problems_at_home(self, results: Path) -> list[str]:
        """What is wrong with the results that are there; nothing about those that are not."""
        problems = []
        for job in self.jobs:
            # The first attempt that came home has the job's name; another one would have its number, too.
            folders = sorted([*(results / self.name).glob(job), *(results / self.name).glob(f"{job}.*")])
            if len(folders) > 1:
                problems.append(f"{job} is at home {len(folders)} times")
            for folder in folders:
                wanted = f"job {job.removeprefix('j-')}\n"
                file = folder / "out.txt"
                if not file.is_file() or file.read_text(encoding="utf-8") != wanted:
                    problems.append(f"{folder.name}/out.txt is not what the analysis wrote")
        return problems
