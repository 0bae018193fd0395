"""Two commands at once on a machine on which nothing was ever made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.site import LIMIT_S, Site, read_events

pytestmark = pytest.mark.xdist_group("run")


def test_two_first_runs_at_once_share_base_and_image(fresh_site: Site, tmp_path: Path) -> None:
    processes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tcl").write_text("puts [open out.txt w] done\n")
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"batch: {name}\njobs:\n  - {{name: job, dir: {name}}}\n")
        processes.append(fresh_site.start("run", "--jobs", str(file), "--yes", "--json", "--results", str(tmp_path)))
    bakes = 0
    for process in processes:
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, stdout[-1000:] + stderr
        bakes += any(event["event"] == "phase" and event["phase"] == "validate" for event in read_events(stdout))
    assert bakes == 1
    status = fresh_site.status()
    assert (status["vms"], status["batches"], status["bucket"]["batches"]) == ([], [], [])
