"""The trials of a drill, and its batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.drill.batch import DrillBatch
from runner.drill.faults import Fault
from runner.drill.program import MASS_PREEMPTIONS, REAL, choose_trials, local_batch
from runner.drill.steps import Step
from runner.drill.trial import Trial
from runner.drill.verdict import Verdict
from runner.errors import InputError
from runner.jobsfile.preflight import check_batch
from runner.model import names


def test_without_options_the_client_is_killed_at_each_step() -> None:
    trials = choose_trials(everything=False, only="", seed=None)
    assert [(trial.step, trial.fault) for trial in trials] == [(step, Fault.KILL_CLIENT) for step in Step]


def test_all_has_every_fault_at_every_step_and_preemptions() -> None:
    trials = choose_trials(everything=True, only="", seed=None)
    assert len(trials) == len(set(trials)) == len(Step) * (len(Fault) - 2) + 1 + MASS_PREEMPTIONS
    assert REAL in trials
    assert [trial.name for trial in trials[-2:]] == ["created-vm/every-vm-9", "created-vm/every-vm-10"]


def test_a_seed_stands_for_an_order_and_delays() -> None:
    first, again, other = (choose_trials(everything=True, only="", seed=seed) for seed in (7, 7, 8))
    assert first == again != other
    assert {trial.name for trial in first} == {trial.name for trial in other}


def test_unknown_trials_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError) as caught:
        choose_trials(everything=False, only="begin/kill-client,begin/earthquake", seed=None)
    assert "begin/earthquake" in str(caught.value)
    assert "kill-client" in caught.value.remedy


def test_the_batch_is_a_valid_one_for_every_trial(tmp_path: Path) -> None:
    for trial in choose_trials(everything=True, only="", seed=None):
        assert names.is_batch_name(local_batch(trial).name)
    batch = DrillBatch(name="d")
    checked = check_batch(batch.write(tmp_path))
    assert [item.job.name for item in checked.inputs] == batch.jobs


def test_results_that_are_there_twice_or_wrong_are_seen(tmp_path: Path) -> None:
    batch = DrillBatch(name="d", durations_s=(1.0,) * 21)
    texts = {"j-0": "job 0\n", "j-1": "job 0\n", "j-2": "job 2\n", "j-2.attempt-1": "job 2\n", "j-20": "job 20\n"}
    for name, text in texts.items():
        (tmp_path / "d" / name).mkdir(parents=True)
        (tmp_path / "d" / name / "out.txt").write_text(text)
    problems = batch.problems_with_results(tmp_path)
    assert len(problems) == 2
    assert "j-1/out.txt" in problems[0]
    assert "j-2 was downloaded 2 times" in problems[1]


def test_a_verdict_is_good_only_without_problems_and_leftovers() -> None:
    trial = Trial(step=Step.GONE, fault=Fault.DROP)
    assert Verdict(trial=trial, batch="d", jobs=3).is_good
    assert not Verdict(trial=trial, batch="d", jobs=3, problems=("x",)).is_good
    assert not Verdict(trial=trial, batch="d", jobs=3, left_over=("instance d-0",)).is_good
