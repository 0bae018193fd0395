"""VMs are taken away at any moment: every job ends once, finished ones are kept, nothing is left."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import LIMIT_S, Site
from tests.faults.cloud_hand import CloudHand
from tests.faults.test_attach import SLOW

pytestmark = pytest.mark.xdist_group("faults")

JOBS = """\
batch: {batch}
jobs:
  - {{name: "j-{{i}}", dir: m, matrix: {{i: {numbers}}}, args: ["{{i}}", 6]}}
machines: {{max_vms: 3, fallback: standard}}
"""


def _follow(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)


@pytest.mark.parametrize("seed", [1, 2])
def test_vms_taken_away_at_random_moments(site: Site, tmp_path: Path, seed: int) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "main.tcl").write_text(SLOW)
    file = tmp_path / "batch.yaml"
    count = 10
    file.write_text(JOBS.format(batch=f"preempted-{seed}", numbers=list(range(count))))
    process = site.start("run", "--jobs", str(file), "--yes", "--json", "--results", str(tmp_path / "results"))
    chance = random.Random(seed)
    first_vms = {f"preempted-{seed}-{i}": chance.uniform(0.0, 8.0) for i in range(3)}
    events: list[dict[str, Any]] = []
    for event in _follow(process):
        events.append(event)
        if event["event"] == "instance" and event["state"] == "ready" and event["name"] in first_vms:
            hand, name = CloudHand(site), event["name"]
            threading.Timer(first_vms[name], hand.preempt, (name,), {"notice_s": chance.choice([1, 5])}).start()
    process.communicate(timeout=LIMIT_S)
    summary = events[-1]
    assert summary["event"] == "summary", events[-3:]
    assert {job["name"]: job["status"] for job in summary["jobs"]} == {f"j-{i}": "succeeded" for i in range(count)}
    assert summary["left_over"] == []
    for number in range(count):
        (folder,) = (tmp_path / "results" / summary["batch"]).glob(f"j-{number}")
        assert (folder / "out.txt").read_text() == f"job {number}\n"
    ended = [event["job"] for event in events if event["event"] == "job" and event["state"] == "succeeded"]
    assert sorted(ended) == sorted(set(ended)), "every job ends once"
    lost = [event for event in events if event["event"] == "instance" and event["state"] == "lost"]
    assert lost, "the VMs were taken away while the batch ran"
    assert site.status()["vms"] == []


def test_the_next_zone_after_a_stockout(site: Site, tmp_path: Path) -> None:
    hand = CloudHand(site)
    fault = {
        "kind": "stockout",
        "match": "europe-west4-a",
        "times": None,
        "details": True,
        "zones_available": ["europe-west4-c"],
    }
    hand.arm(fault)
    try:
        batch = site.run_batch(Path("jobs/smoke.yaml"), tmp_path / "results")
    finally:
        hand.clear_faults()
    assert batch.exit_code == 0, batch.events[-3:]
    warnings = [event["message"] for event in batch.events if event["event"] == "warning"]
    assert any("does not have enough resources" in text and "europe-west4-c" in text for text in warnings)
