"""Spot VMs that are preempted while they are being created: each is a lost VM, and nothing worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.model import names
from tests.e2e.site import Site
from tests.faults.cloud_control import CloudControl
from tests.faults.test_attach import SLOW

pytestmark = pytest.mark.xdist_group("faults")

JOBS = """\
batch: {batch}
jobs:
  - {{name: "j-{{i}}", dir: m, matrix: {{i: [1, 2, 3, 4]}}, args: ["{{i}}", 2]}}
machines: {{max_vms: {vms}}}
"""


@pytest.mark.parametrize("vms", [1, 2])
def test_a_batch_continues_when_a_vm_disappears_as_soon_as_it_runs(site: Site, tmp_path: Path, vms: int) -> None:
    batch = f"brief-{vms}"
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "main.tcl").write_text(SLOW)
    (tmp_path / "batch.yaml").write_text(JOBS.format(batch=batch, vms=vms))
    site.status()  # this starts the cloud
    first = names.instance_name(batch, 0)
    CloudControl(site).arm(
        {"kind": "preemption", "match": f"instances/{first}$", "after_s": 0.0, "notice_s": 0.0, "times": 1}
    )
    done = site.run_batch(tmp_path / "batch.yaml", tmp_path / "results")
    assert done.exit_code == 0, (done.events[-3:], done.stderr)
    assert first not in {job["instance"] for job in done.events[-1]["jobs"]}
    lost = [event["name"] for event in done.events if (event["event"], event.get("state")) == ("instance", "lost")]
    assert lost == [first]
    assert [event["message"] for event in done.events if event["event"] == "warning"] == []
    assert site.status()["vms"] == []
