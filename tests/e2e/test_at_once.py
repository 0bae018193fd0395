"""Two commands at once on a computer on which nothing was ever created."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.site import LIMIT_S, Site, read_events

pytestmark = pytest.mark.xdist_group("run")


def test_two_first_runs_of_one_file_share_base_and_image_and_have_names_of_their_own(
    fresh_site: Site, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "main.tcl").write_text("puts [open out.txt w] done\n")
    file = tmp_path / "same.yaml"
    file.write_text("batch: same\njobs:\n  - {name: job, dir: m}\n")
    words = ("run", "--jobs", str(file), "--yes", "--json", "--results", str(tmp_path / "results"))
    processes = [fresh_site.start(*words) for _ in range(2)]
    bakes, names = 0, []
    for process in processes:
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, stdout[-1000:] + stderr
        events = read_events(stdout)
        bakes += any(event["event"] == "phase" and event["phase"] == "validate" for event in events)
        names.append(events[-1]["batch"])
    assert bakes == 1
    assert sorted(names) == ["same", "same-2"]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["same", "same-2"]
    status = fresh_site.status()
    assert (status["vms"], status["batches"], status["bucket"]["batches"]) == ([], [], [])
