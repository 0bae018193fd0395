"""OpenSeesPy: moments, reactions, deflections and frequencies of a continuous beam against closed forms."""

from __future__ import annotations

import math

import pytest

from tests.jobs.conftest import ModelRun, RunJob

SPAN, EI, MASS = 24.0, 2.1e8 * 8.0e-3, 1.2
LOADS = {"dead": (MASS * 9.81, MASS * 9.81), "live_both": (10.0, 10.0), "live_left": (10.0, 0.0)}


@pytest.fixture
def bridge(run_job: RunJob) -> ModelRun:
    run = run_job("batch1.yaml", "two-span-bridge")
    assert run.exit_code == 0, run.output
    assert "SUCCESS: 3 load cases and 3 modes" in run.output
    return run


def test_load_cases_and_frequencies_agree_with_closed_forms(bridge: ModelRun) -> None:
    for row in bridge.table("load_cases.csv"):
        left, right = LOADS[row["case"]]
        moment = -(left + right) * SPAN**2 / 16  # three-moment equation, two equal spans
        assert float(row["support_moment_kNm"]) == pytest.approx(moment, rel=1e-9)
        assert float(row["support_reaction_kN"]) == pytest.approx((left + right) * SPAN * 5 / 8, rel=1e-9)
        simple = 5 * left * SPAN**4 / (384 * EI)  # the span alone, less what the support's moment lifts
        assert float(row["midspan_deflection_m"]) == pytest.approx(-(simple + moment * SPAN**2 / (16 * EI)), rel=1e-9)
    measured = [float(row["hz"]) for row in bridge.table("frequencies.csv")]
    assert measured == pytest.approx([_frequency(x) for x in (math.pi, _clamped_pinned_root(), 2 * math.pi)], rel=1e-6)


def _frequency(root: float) -> float:
    """Of a span whose mode is sin or clamped-pinned with ``root`` = beta L, in Hz."""
    return root**2 / (2 * math.pi * SPAN**2) * math.sqrt(EI / MASS)


def _clamped_pinned_root() -> float:
    """The first root of tan x = tanh x, between pi and 3/2 pi: symmetric modes do not turn over the middle support."""
    low, high = 3.5, 4.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.tan(middle) < math.tanh(middle) else (low, middle)
    return low
