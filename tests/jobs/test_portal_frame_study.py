"""Parameter study: every case against the closed form of a portal frame with fixed bases and members of fixed length."""

from __future__ import annotations

import math

import pytest

from tests.jobs.conftest import JOBS, RunJob

E = 2.1e8
FORCE = 100.0


def _cases() -> dict[str, tuple[float, ...]]:
    lines = (JOBS / "models/portal_frame_study/cases.cdata").read_text().splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return {row[0]: tuple(map(float, row[1:])) for row in rows}


def _sway_stiffness(height: float, span: float, column_i: float, beam_i: float) -> float:
    """Slope deflection: with k = (Ib / L) / (Ic / h) it is 24 E Ic / h^3 times (1 + 6 k) / (4 + 6 k)."""
    k = (beam_i / span) / (column_i / height)
    return 24 * E * column_i / height**3 * (1 + 6 * k) / (4 + 6 * k)


@pytest.mark.parametrize("np", [1, 2, 3])
def test_every_case_agrees_with_the_closed_form_on_any_number_of_ranks(run_job: RunJob, np: int) -> None:
    run = run_job("batch1.yaml", "portal-frame-study", np=np)
    assert run.exit_code == 0, run.output
    assert f"SUCCESS: 11 cases on {np} ranks" in run.output
    rows, cases = run.table("frames.csv"), _cases()
    assert [row["case"] for row in rows] == sorted(cases)
    assert {int(row["rank"]) for row in rows} == set(range(np))
    for row in rows:
        *frame, mass = cases[row["case"]]
        stiffness = _sway_stiffness(*frame)
        assert float(row["drift_m"]) == pytest.approx(FORCE / stiffness, rel=1e-6)
        assert float(row["period_s"]) == pytest.approx(2 * math.pi * math.sqrt(mass / stiffness), rel=1e-6)
