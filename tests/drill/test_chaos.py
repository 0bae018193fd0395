"""Random trials: what a seed determines, and what the witness file of a batch shows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runner.drill.batch import FAILURE_EXIT_CODE, DrillBatch
from runner.drill.chaos import JOBS, MOST_FAULTS, WINDOW_S, ChaosTrial, draw_trials, read_chaos_name
from runner.drill.program import list_trials
from runner.drill.random_faults import INJECTORS, RandomFault
from runner.drill.witness import CANCEL_LIMIT_S, Statement, count_ends, find_needless_runs, read_statements
from runner.errors import InputError
from runner.jobsfile.preflight import check_batch
from runner.model import names


def test_a_seed_and_a_number_stand_for_a_trial() -> None:
    assert ChaosTrial.draw(7, 3) == ChaosTrial.draw(7, 3)
    assert ChaosTrial.draw(7, 3) != ChaosTrial.draw(7, 4) != ChaosTrial.draw(8, 4)
    assert read_chaos_name(ChaosTrial.draw(7, 3).name) == ChaosTrial.draw(7, 3)
    assert draw_trials(2, seed=7) == [ChaosTrial.draw(7, 1), ChaosTrial.draw(7, 2)]
    assert draw_trials(1, seed=None) != draw_trials(1, seed=None)


@pytest.mark.parametrize("name", ["gone/drop", "random/", "random/7", "random/7-x", "random/7-1-2"])
def test_other_names_are_no_random_trials(name: str) -> None:
    assert read_chaos_name(name) is None


def test_every_fault_is_injected_within_the_window_and_has_its_function() -> None:
    trials = draw_trials(200, seed=0)
    assert {injection.fault for trial in trials for injection in trial.injections} == set(RandomFault) == set(INJECTORS)
    assert all(1 <= len(trial.injections) <= MOST_FAULTS for trial in trials)
    assert all(0 <= injection.at_s <= WINDOW_S for trial in trials for injection in trial.injections)
    assert {len(trial.durations_s) for trial in trials} == {JOBS}


def test_trials_are_listed_by_name_or_by_number() -> None:
    assert list_trials(everything=False, only="random/7-3", seed=None, count=0) == [ChaosTrial.draw(7, 3)]
    both = list_trials(everything=False, only="gone/drop, random/7-3", seed=None, count=0)
    assert {trial.name for trial in both} == {"gone/drop", "random/7-3"}
    assert list_trials(everything=False, only="", seed=7, count=2) == draw_trials(2, seed=7)
    with pytest.raises(InputError, match="random/7-x"):
        list_trials(everything=False, only="random/7-x", seed=None, count=0)


def test_the_batch_writes_to_its_witness_file_and_fails_on_purpose(tmp_path: Path) -> None:
    batch = DrillBatch(name="d", durations_s=(0.5, 1.0), witness=tmp_path / "witness", failing={"j-1"})
    checked = check_batch(batch.write(tmp_path))
    args = [list(item.job.args) for item in checked.inputs]
    assert args == [
        ["0", "2", str(tmp_path / "witness"), "0"],
        ["1", "4", str(tmp_path / "witness"), str(FAILURE_EXIT_CODE)],
    ]


def test_a_witness_is_read_as_far_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "witness"
    assert read_statements(file) == []
    file.write_text(f"begin 0 /jobs/b/{names.attempt_folder('j-0', 2)}/m 1500\nend 0 /elsewhere 1600\nend 0 /jo")
    assert read_statements(file) == [Statement(what="begin", job="j-0", attempt=2, at_s=1.5)]


def statement(what: str, attempt: int, at_s: float) -> Statement:
    return Statement(what=what, job="j-0", attempt=attempt, at_s=at_s)


def test_a_run_after_the_results_of_the_first_one_were_safe_is_needless() -> None:
    safe = {("j-0", 1): 100.0}
    assert (
        find_needless_runs([statement("begin", 1, 90), statement("end", 1, 99)], safe, client_lives_until_s=time.time())
        == []
    )
    (problem,) = find_needless_runs([statement("begin", 2, 105)], safe, client_lives_until_s=time.time())
    assert "attempt 2 of j-0" in problem
    assert "5.0 s" in problem


def test_a_run_that_was_begun_before_is_the_clients_to_end() -> None:
    safe = {("j-0", 1): 100.0}
    late = statement("end", 2, 101 + CANCEL_LIMIT_S)
    assert (
        find_needless_runs([statement("begin", 2, 95), statement("end", 2, 101)], safe, client_lives_until_s=1e9) == []
    )
    assert len(find_needless_runs([statement("begin", 2, 95), late], safe, client_lives_until_s=1e9)) == 1
    assert find_needless_runs([statement("begin", 2, 95), late], safe, client_lives_until_s=99) == []


def test_ends_are_counted_by_job() -> None:
    assert count_ends([statement("begin", 1, 1), statement("end", 1, 2), statement("end", 2, 3)]) == {"j-0": 2}
