"""A VM is silent for long, while jobs end there and push their results: they are not run again.

Either the client sleeps past its lease, as in a closed laptop, and its connections are lost meanwhile, or the VM refuses SSH and is given up
though it runs on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from runner.model import names
from tests.e2e.site import LIMIT_S, Site
from tests.faults.cloud_control import CloudControl
from tests.faults.test_attach import SLOW

pytestmark = pytest.mark.xdist_group("faults")

STEPS_QUICK, STEPS_SLOW = 8, 120
JOBS = """\
batch: {batch}
jobs:
  - {{name: "quick-{{i}}", dir: m, matrix: {{i: [1, 2]}}, args: ["{{i}}", {quick}]}}
  - {{name: "slow-{{i}}", dir: m, matrix: {{i: [1, 2]}}, args: ["{{i}}", {slow}]}}
machines: {{max_vms: 1}}
"""
NAMES = ("quick-1", "quick-2", "slow-1", "slow-2")
# Four cores, so that all four jobs run at once.
MACHINE = {"OPENSEES_HPC_MACHINE_TYPE": "c2-standard-8"}


class Run:
    """A batch on one VM, up to the moment when all of its jobs have begun."""

    def __init__(self, site: Site, folder: Path, batch: str, **more: str) -> None:
        (folder / "m").mkdir()
        (folder / "m" / "main.tcl").write_text(SLOW)
        file = folder / "batch.yaml"
        file.write_text(JOBS.format(batch=batch, quick=STEPS_QUICK, slow=STEPS_SLOW))
        self.results = folder / "results"
        self.batch = batch
        self.events: list[dict[str, Any]] = []
        words = ("run", "--jobs", str(file), "--yes", "--json", "--results", str(self.results))
        self.process: subprocess.Popen[str] = Site(home=site.home, more=MACHINE | more).start(*words)
        begun: set[str] = set()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == "log" and self.events[-1]["line"].startswith("begin"):
                begun.add(self.events[-1]["job"])
            if len(begun) == len(NAMES):
                return
        raise AssertionError(self.process.communicate(timeout=LIMIT_S))

    def wait(self) -> None:
        """Wait for its end."""
        stdout, stderr = self.process.communicate(timeout=LIMIT_S)
        self.events += [json.loads(line) for line in stdout.splitlines()]
        assert self.events[-1]["event"] == "summary", (self.events[-3:], stderr)

    def assert_each_job_ended_once(self) -> None:
        summary, told = self.events[-1], [event for event in self.events if event["event"] in ("job", "instance")]
        assert {job["name"]: job["status"] for job in summary["jobs"]} == dict.fromkeys(NAMES, "succeeded"), told
        starts = [event["job"] for event in told if event["event"] == "job" and event["state"] == "running"]
        assert {name: starts.count(name) for name in NAMES} == {"quick-1": 1, "quick-2": 1, "slow-1": 2, "slow-2": 2}, (
            told
        )
        for name in NAMES:
            assert [folder.name for folder in (self.results / self.batch).glob(f"{name}*")] == [name]
        lines = [event["line"] for event in self.events if event["event"] == "log" and event["job"] == "quick-1"]
        steps = [line for line in lines if line.startswith("step")]
        assert steps == [f"step {i}" for i in range(STEPS_QUICK)], "no line of the log twice, none lost"
        assert summary["left_over"] == []


def _wait_until_no_vm_exists(site: Site) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    while site.status()["vms"]:
        assert time.monotonic() < give_up_at
        time.sleep(1)


def test_jobs_that_ended_while_the_client_slept(site: Site, tmp_path: Path) -> None:
    run = Run(site, tmp_path, "asleep", OPENSEES_HPC_LEASE_S="8")
    run.process.send_signal(signal.SIGSTOP)
    try:
        CloudControl(site).arm({"kind": "ssh_drop", "match": f"instances/{names.instance_name('asleep', 0)}$"})
        _wait_until_no_vm_exists(site)
    finally:
        run.process.send_signal(signal.SIGCONT)
    run.wait()
    run.assert_each_job_ended_once()


def test_jobs_that_ended_while_the_vm_was_silent(site: Site, tmp_path: Path) -> None:
    run = Run(site, tmp_path, "silent", OPENSEES_HPC_LOST_AFTER_S="20")
    control = CloudControl(site)
    match = f"instances/{names.instance_name('silent', 0)}$"
    control.arm({"kind": "ssh_refused", "match": match, "delay_s": 3600})
    control.arm({"kind": "ssh_drop", "match": match})
    run.wait()
    run.assert_each_job_ended_once()
    assert {event["reason"] for event in run.events if (event["event"], event.get("state")) == ("job", "waiting")} == {
        "its results were lost with its VM"
    }
