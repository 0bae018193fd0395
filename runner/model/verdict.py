"""The verdict on a job that has ended: exit code, deadline, and what its last lines say. Pure.

An exit code of 0 is not proof: OpenSees scripts that ignore the result of ``analyze`` end with 0 wherever they stopped. Where the
jobs file says what time must be reached, the script must print it, as in ``last time reached: 45.0``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runner.model.batch import Expectation
from runner.model.states import JobState

TIME_REACHED = re.compile(r"\btime reached\s*[:=]\s*([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)", re.IGNORECASE)
TIME_TOLERANCE = 1e-3  # relative: scripts print a few digits, and the last step may end just short
# What OpenSees prints when an analysis step fails (SRC/analysis and SRC/convergenceTest of its source).
NOT_CONVERGED = re.compile(r"failed to converge|analyze failed|the \w+ failed at iteration", re.IGNORECASE)
SIGNAL_BASE = 128
SIGNALS = range(1, 65)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a job ended, and a short reason if there is one."""

    state: JobState
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class EngineEnd:
    """How OpenSees ended, as reported by the program that started it. ``signal`` None: it ended with an exit code of its own."""

    signal: int | None


def read_engine_end(text: str) -> EngineEnd | None:
    """Read ``exit CODE`` or ``signal NUMBER``; None for anything else."""
    word, _, number = text.removesuffix("\n").partition(" ")
    if not text.endswith("\n") or not number.isdecimal() or word not in ("exit", "signal"):
        return None
    return EngineEnd(signal=int(number) if word == "signal" else None)


def judge(
    *,
    exit_code: int | None,
    timed_out: bool,
    last_lines: Sequence[str],
    expect: Expectation,
    engine: EngineEnd | None = None,
) -> Verdict:
    """Return the verdict on a job that has ended. ``engine``: None if its end was not reported, as when its launcher was killed."""
    if timed_out:
        return Verdict(state=JobState.TIMED_OUT, reason=_with_time("ended at its deadline", last_lines))
    if exit_code is None:
        return Verdict(
            state=JobState.LOST, reason="its end was not seen (the VM went down, or its supervisor was killed)"
        )
    if exit_code != 0:
        return Verdict(state=JobState.FAILED, reason=_why_failed(exit_code, engine, last_lines))
    return _judge_time(last_lines, expect)


def time_reached(last_lines: Sequence[str]) -> float | None:
    """Return the last time that the lines report, in s of pseudo-time."""
    found = [match.group(1) for line in last_lines for match in TIME_REACHED.finditer(line)]
    return float(found[-1]) if found else None


def _judge_time(last_lines: Sequence[str], expect: Expectation) -> Verdict:
    wanted = expect.end_time_s
    if wanted is None:
        return Verdict(state=JobState.SUCCEEDED)
    reached = time_reached(last_lines)
    if reached is None:
        reason = "expect.end_time_s is given, but the last lines do not say `last time reached: …`"
        return Verdict(state=JobState.FAILED, reason=reason)
    if reached < wanted * (1 - TIME_TOLERANCE):
        return Verdict(state=JobState.FAILED, reason=f"stopped at t = {reached:g} s of {wanted:g} s, with exit code 0")
    return Verdict(state=JobState.SUCCEEDED)


def _why_failed(exit_code: int, engine: EngineEnd | None, last_lines: Sequence[str]) -> str:
    if engine is not None and engine.signal is not None:
        return f"killed by signal {engine.signal}"
    if any(NOT_CONVERGED.search(line) for line in last_lines):
        return _with_time("did not converge", last_lines)
    if engine is None and exit_code - SIGNAL_BASE in SIGNALS:
        return f"exit code {exit_code}, as of a program that signal {exit_code - SIGNAL_BASE} killed"
    return _with_time(f"exit code {exit_code}", last_lines)


def _with_time(text: str, last_lines: Sequence[str]) -> str:
    reached = time_reached(last_lines)
    return text if reached is None else f"{text}, at t = {reached:g} s"
