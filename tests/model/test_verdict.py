"""Exit codes alone never prove success."""

from __future__ import annotations

import pytest

from runner.model.batch import Expectation
from runner.model.states import TRANSITIONS, JobState
from runner.model.verdict import EngineEnd, judge, read_engine_end

NOTHING = Expectation()
TO_45 = Expectation(end_time_s=45.0)


@pytest.mark.parametrize(
    ("exit_code", "timed_out", "lines", "expect", "state", "words"),
    [
        (0, False, [], NOTHING, JobState.SUCCEEDED, ""),
        (0, False, ["last time reached: 45.0"], TO_45, JobState.SUCCEEDED, ""),
        (0, False, ["last time reached: 44.9999"], TO_45, JobState.SUCCEEDED, ""),
        (0, False, ["last time reached: 12.40"], TO_45, JobState.FAILED, "stopped at t = 12.4 s of 45 s"),
        (0, False, ["done"], TO_45, JobState.FAILED, "do not say"),
        (1, False, ["WARNING: CTestNormUnbalance failed to converge"], NOTHING, JobState.FAILED, "did not converge"),
        (
            1,
            False,
            ["OpenSees > analyze failed, returned: -3", "time reached = 3"],
            NOTHING,
            JobState.FAILED,
            "at t = 3 s",
        ),
        (139, False, [], NOTHING, JobState.FAILED, "exit code 139, as of a program that signal 11 killed"),
        (255, False, [], NOTHING, JobState.FAILED, "exit code 255"),
        (3, False, ["x"], NOTHING, JobState.FAILED, "exit code 3"),
        (143, True, ["last time reached: 1e1"], NOTHING, JobState.TIMED_OUT, "at its deadline, at t = 10 s"),
        (None, False, [], NOTHING, JobState.LOST, "was not seen"),
    ],
)
def test_verdicts(
    exit_code: int | None, timed_out: bool, lines: list[str], expect: Expectation, state: JobState, words: str
) -> None:
    verdict = judge(exit_code=exit_code, timed_out=timed_out, last_lines=lines, expect=expect)
    assert verdict.state is state
    assert words in verdict.reason
    assert verdict.state.has_ended


@pytest.mark.parametrize(
    ("exit_code", "said", "reason"),
    [
        (139, "signal 11\n", "killed by signal 11"),
        (139, "exit 139\n", "exit code 139"),
        (255, "exit 255\n", "exit code 255"),
        (255, "", "exit code 255"),
        (137, "signal", "exit code 137, as of a program that signal 9 killed"),
        (137, "signal 9", "exit code 137, as of a program that signal 9 killed"),  # cut off
        (3, "exit 3\n", "exit code 3"),
    ],
)
def test_a_signal_is_one_only_if_it_was_seen(exit_code: int, said: str, reason: str) -> None:
    engine = read_engine_end(said)
    verdict = judge(exit_code=exit_code, timed_out=False, last_lines=[], expect=NOTHING, engine=engine)
    assert (verdict.state, verdict.reason) == (JobState.FAILED, reason)


@pytest.mark.parametrize("text", ["", "\n", "signal\n", "signal x\n", "gone 3\n", "exit 3\nexit 4\n", "signal -1\n"])
def test_text_without_the_end_of_the_engine_is_none(text: str) -> None:
    assert read_engine_end(text) is None
    assert read_engine_end("signal 11\n") == EngineEnd(signal=11)


def test_every_state_has_its_transitions_and_only_states_follow() -> None:
    assert set(TRANSITIONS) == set(JobState)
    assert all(following <= set(JobState) for following in TRANSITIONS.values())
