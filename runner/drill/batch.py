"""The batch of a drill: a few analyses of a few seconds, with known results."""

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
    """``durations_s``: one for each analysis. ``vms``: how many VMs it has at most at a time.

    ``witness``: the file on this computer in which each analysis records its begin and end; None for none. ``failing``: the analyses
    that fail on purpose, after they have written their file.
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

    def downloaded_attempts(self, results: Path) -> dict[str, int]:
        """Return the jobs whose results were downloaded, each with its attempt."""
        found = {job: DownloadTracker(results / self.name).find(job) for job in self.jobs}
        return {job: downloaded.attempt for job, downloaded in found.items() if downloaded is not None}

    def problems_with_results(self, results: Path) -> list[str]:
        """Return what is wrong with the downloaded results; missing results are not checked here."""
        problems = []
        for job in self.jobs:
            # The first attempt that was downloaded has the job's name; another one has its number too.
            folders = sorted([*(results / self.name).glob(job), *(results / self.name).glob(f"{job}.*")])
            if len(folders) > 1:
                problems.append(f"{job} was downloaded {len(folders)} times")
            for folder in folders:
                wanted = f"job {job.removeprefix('j-')}\n"
                file = folder / "out.txt"
                if not file.is_file() or file.read_text(encoding="utf-8") != wanted:
                    problems.append(f"{folder.name}/out.txt is not what the analysis wrote")
        return problems
