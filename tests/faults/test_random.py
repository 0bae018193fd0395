"""Random faults at random moments: a handful of trials with fixed seeds; `invoke drill --random N --seed S` runs more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.drill.chaos import read_chaos_name
from runner.drill.program import execute, list_trials
from runner.drill.random_faults import RandomFault
from runner.drill.targets import make_local_site
from runner.model.events import Listener
from tests.e2e.site import Site

pytestmark = pytest.mark.xdist_group("faults")

SAMPLE = ("random/1-22", "random/1-37", "random/1-39", "random/1-46", "random/1-47", "random/1-49", "random/1-52")


def test_the_sample_has_every_random_fault() -> None:
    trials = [read_chaos_name(name) for name in SAMPLE]
    assert {injection.fault for trial in trials if trial for injection in trial.injections} == set(RandomFault)


@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_is_left_nothing_lost_and_nothing_run_twice(site: Site, tmp_path: Path, name: str) -> None:
    started = site.invoke("local.start")
    assert started.returncode == 0, started.stderr
    drilled = make_local_site(site.environment, site.home, tmp_path)
    trials = list_trials(everything=False, only=name, seed=None, count=0)
    (verdict,) = execute(drilled, trials, Listener()).verdicts
    assert verdict.is_good, json.dumps(verdict.as_json(), indent=1)
