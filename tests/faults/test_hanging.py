"""A VM that hangs although the cloud reports it as running is given up, and its jobs run on another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import LIMIT_S, Site
from tests.faults.cloud_control import CloudControl
from tests.faults.test_attach import SLOW

pytestmark = pytest.mark.xdist_group("faults")

LOST_AFTER_S = 20
JOBS = """\
batch: hanging
jobs:
  - {name: "j-{i}", dir: m, matrix: {i: [1, 2]}, args: ["{i}", 12]}
machines: {max_vms: 1}
"""


def test_jobs_of_a_vm_that_hangs_run_on_another_one(site: Site, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "main.tcl").write_text(SLOW)
    (tmp_path / "batch.yaml").write_text(JOBS)
    impatient = Site(home=site.home, more={"OPENSEES_HPC_LOST_AFTER_S": str(LOST_AFTER_S)})
    words = ("run", "--jobs", str(tmp_path / "batch.yaml"), "--yes", "--json", "--results", str(tmp_path / "results"))
    process = impatient.start(*words)
    assert process.stdout is not None
    events: list[dict[str, Any]] = []
    for line in process.stdout:
        events.append(json.loads(line))
        if _is_line_of_a_job(events[-1]) and not any(_is_line_of_a_job(event) for event in events[:-1]):
            CloudControl(site).arm({"kind": "hang", "match": "instances/opensees-hpc-hanging-0$"})
    _, stderr = process.communicate(timeout=LIMIT_S)
    summary = events[-1]
    assert summary["event"] == "summary", (events[-3:], stderr)
    assert {job["name"]: job["status"] for job in summary["jobs"]} == {"j-1": "succeeded", "j-2": "succeeded"}
    (lost,) = [event for event in events if event["event"] == "instance" and event["state"] == "lost"]
    assert (lost["name"], lost["witness"]) == ("opensees-hpc-hanging-0", "ssh")
    assert {job["instance"] for job in summary["jobs"]} == {"opensees-hpc-hanging-1"}
    assert summary["left_over"] == []
    assert site.status()["vms"] == []


def _is_line_of_a_job(event: dict[str, Any]) -> bool:
    return event["event"] == "log" and str(event["job"]).startswith("j-")
