"""Pushover: initial stiffness by direct stiffness with P-Delta, load at 3 % drift by limit analysis."""

from __future__ import annotations

import pytest

from tests.jobs.conftest import ModelRun, RunJob
from tests.jobs.steel_frame import base_shear_of_mechanism, elastic_floor_displacements

STOREY_RANGES = [(lowest, highest) for lowest in (1, 2, 3) for highest in range(lowest, 4)]


@pytest.fixture
def pushover(run_job: RunJob) -> ModelRun:
    run = run_job("batch1.yaml", "steel-frame-pushover")
    assert run.exit_code == 0, run.output
    return run


def test_the_pushover_agrees_with_statics_by_hand(pushover: ModelRun) -> None:
    rows = pushover.columns("floors.out")
    assert "SUCCESS: roof drift of 3.00 % reached" in pushover.output
    assert f"last time reached: {rows[-1][0]:.4f}" in pushover.output
    _check_initial_stiffness(rows)
    _check_plateau(rows)
    _check_equilibrium(pushover, rows)


def _check_initial_stiffness(rows: list[list[float]]) -> None:
    """Between the first two steps all is elastic; 1e-5 leaves room for the change of axial forces with the sway."""
    first, second = rows[0], rows[1]
    measured = [(b - a) / (second[0] - first[0]) for a, b in zip(first[1:], second[1:], strict=True)]
    assert measured == pytest.approx(elastic_floor_displacements(), rel=1e-5)


def _check_plateau(rows: list[list[float]]) -> None:
    """At 3 % drift the weakest mechanism (all storeys) holds within 0.5 %: the cores of the sections are still elastic,
    and the hardening of 1e-4 adds a little. No mechanism may be exceeded by more than that hardening can give."""
    shear, *displacements = rows[-1]
    limits = {sway: base_shear_of_mechanism(*sway, displacements) for sway in STOREY_RANGES}
    assert min(limits, key=limits.__getitem__) == (1, 3)
    assert shear == pytest.approx(limits[1, 3], rel=5e-3)
    assert all(row[0] < 1.005 * base_shear_of_mechanism(*sway, row[1:]) for row in rows for sway in STOREY_RANGES)


def _check_equilibrium(run: ModelRun, rows: list[list[float]]) -> None:
    """Base shears of the columns balance the lateral load, vertical reactions the gravity, at every step."""
    for row, base in zip(rows, run.columns("base.out"), strict=True):
        assert -sum(base[1::3]) == pytest.approx(row[0], rel=1e-6)
        assert sum(base[2::3]) == pytest.approx(1920.0, rel=1e-6)
