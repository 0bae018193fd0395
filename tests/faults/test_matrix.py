"""The fault matrix: every fault at every step of the journal. This is a sample with each fault and each step; `invoke drill --all` runs all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.drill.faults import Fault
from runner.drill.program import choose_trials, execute
from runner.drill.steps import Step
from runner.drill.targets import make_local_site
from runner.model.events import Listener
from tests.e2e.site import Site
from tests.needs import need

pytestmark = pytest.mark.xdist_group("faults")

SAMPLE = (
    "begin/kill-client",
    "plan/sigterm",
    "intend-stack/sigint",
    "intend-vm/kill-engine",
    "up-running/kill-client",
    "up-running/kill-group",
    "created-vm/drop",
    "job-running/full-disk",
    "job-ended/kill-client",
    "last-job-ended/api-503",
    "gone/api-403",
    "end/kill-engine",
    "created-vm/every-vm-1",
    "created-vm/every-vm-2",
)


@pytest.fixture(scope="module")
def started(site: Site) -> Site:
    """Return the site with its cloud running, as a process of its own and not a child of the tests."""
    need("tcl")
    done = site.invoke("local.start")
    assert done.returncode == 0, done.stderr
    return site


@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_is_left_and_nothing_lost(started: Site, tmp_path: Path, name: str) -> None:
    drilled = make_local_site(started.environment, started.home, tmp_path)
    summary = execute(drilled, choose_trials(everything=False, only=name, seed=None), Listener())
    (verdict,) = summary.verdicts
    assert verdict.is_good, json.dumps(verdict.as_json(), indent=1)
    status = started.status()
    assert not [vm for vm in status["vms"] if vm["batch"] == verdict.batch]
    assert verdict.batch not in {batch["name"] for batch in (*status["batches"], *status["bucket"]["batches"])}


def test_the_sample_has_every_step_and_every_fault() -> None:
    trials = choose_trials(everything=False, only=",".join(SAMPLE), seed=None)
    assert {trial.step for trial in trials} == set(Step)
    assert {trial.fault for trial in trials} == set(Fault) - {Fault.PREEMPTION}, "which is a part of every-vm"
