"""A client that sleeps for longer than its lease, as in a closed laptop: jobs that ended meanwhile are not run again."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import LIMIT_S, Site
from tests.faults.test_attach import SLOW

pytestmark = pytest.mark.xdist_group("faults")

LEASE_S = 8
JOBS = """\
batch: asleep
jobs:
  - {name: "quick-{i}", dir: m, matrix: {i: [1, 2]}, args: ["{i}", 6]}
  - {name: "slow-{i}", dir: m, matrix: {i: [1, 2]}, args: ["{i}", 120]}
machines: {max_vms: 1}
"""


def _begins(event: dict[str, Any], job: str) -> bool:
    return (event["event"], event.get("job"), event.get("state")) == ("job", job, "running")


def _wait_until_no_vm_runs(site: Site) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    while site.status()["vms"]:
        assert time.monotonic() < give_up_at
        time.sleep(1)


def test_jobs_that_ended_while_the_client_slept_are_not_run_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "main.tcl").write_text(SLOW)
    (tmp_path / "batch.yaml").write_text(JOBS)
    short = Site(home=site.home, more={"OPENSEES_HPC_LEASE_S": str(LEASE_S)})
    words = ("run", "--jobs", str(tmp_path / "batch.yaml"), "--yes", "--json", "--results", str(tmp_path / "results"))
    process = short.start(*words)
    assert process.stdout is not None
    events: list[dict[str, Any]] = []
    begun: set[str] = set()
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "log" and events[-1]["line"].startswith("begin"):
            begun.add(events[-1]["job"])
        if len(begun) == 2:
            break
    process.send_signal(signal.SIGSTOP)
    try:
        _wait_until_no_vm_runs(site)
    finally:
        process.send_signal(signal.SIGCONT)
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    events += [json.loads(line) for line in stdout.splitlines()]
    summary = events[-1]
    assert summary["event"] == "summary", (events[-3:], stderr)
    assert {job["status"] for job in summary["jobs"]} == {"succeeded"}, summary
    starts = {job: sum(_begins(event, job) for event in events) for job in ("quick-1", "quick-2")}
    assert starts == {"quick-1": 1, "quick-2": 1}, [event for event in events if event["event"] in ("job", "instance")]
    for name in ("quick-1", "quick-2", "slow-1", "slow-2"):
        assert [folder.name for folder in (tmp_path / "results" / "asleep").glob(f"{name}*")] == [name]
    lines = [event["line"] for event in events if event["event"] == "log" and event["job"] == "quick-1"]
    assert [line for line in lines if line.startswith("step")] == [f"step {i}" for i in range(6)], (
        "nothing twice or lost"
    )
    assert summary["left_over"] == []
    assert site.status()["vms"] == []
