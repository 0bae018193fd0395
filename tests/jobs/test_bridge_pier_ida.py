"""Time history: every analysis of the matrix against Newmark integration written by hand."""

from __future__ import annotations

import math

import pytest

from tests.jobs.conftest import JOBS, RunJob, read_batch
from tests.jobs.newmark import Oscillator, integrate, interpolate

G = 9.81
MASS = 600.0
STIFFNESS = 3 * 5.6e6 / 7.0**3
PIER = Oscillator(
    mass=MASS,
    stiffness=STIFFNESS,
    yield_force=0.15 * MASS * G,
    hardening=0.02,
    damping=2 * 0.05 * math.sqrt(STIFFNESS * MASS),
)
DT_S, END_S = 0.005, 45.0
ANALYSES = [job for job in read_batch("batch1.yaml").jobs if job.name.startswith("ida-")]


def _expected(record: str, scale: float) -> list[float]:
    values = (JOBS / "models/bridge_pier_ida/records" / f"{record}.txt").read_text().split()
    ground = interpolate([float(value) * scale * G for value in values], 0.01)
    return integrate(PIER, ground, DT_S, round(END_S / DT_S))


@pytest.mark.parametrize(("record", "scale"), [job.args for job in ANALYSES], ids=[job.name for job in ANALYSES])
def test_a_time_history_agrees_with_newmark_by_hand(run_job: RunJob, record: str, scale: str) -> None:
    run = run_job("batch1.yaml", f"ida-{record}-{scale}")
    assert run.exit_code == 0, run.output
    assert f"SUCCESS: {record} x {scale} ran to the end, t = 45.000 s" in run.output
    expected = _expected(record, float(scale))
    peak = max(expected, key=abs)
    row = run.table("peaks.csv")[0]
    assert float(row["peak_m"]) == pytest.approx(peak, rel=1e-6)
    assert float(row["peak_time_s"]) == pytest.approx(DT_S * expected.index(peak), abs=1e-6)
    assert float(row["ductility"]) == pytest.approx(abs(peak) * STIFFNESS / PIER.yield_force, rel=1e-6)
    history = [u for _, u in run.columns("displacement.out")]
    assert history == pytest.approx(expected[1:], abs=1e-6 * abs(peak))


def test_the_matrix_goes_from_little_damage_to_much() -> None:
    peaks = [max(map(abs, _expected(record, float(scale)))) for record, scale in (job.args for job in ANALYSES)]
    ductilities = [peak * STIFFNESS / PIER.yield_force for peak in peaks]
    assert min(ductilities) < 4 < 6 < max(ductilities) < 20


@pytest.mark.parametrize("record", ["northridge", "kobe"])
def test_a_record_is_what_its_source_says(record: str) -> None:
    """Number of points and peak ground acceleration in g, as SOURCE.md and the P695 tables give them."""
    folder = JOBS / "models/bridge_pier_ida/records"
    values = [float(value) for value in (folder / f"{record}.txt").read_text().split()]
    peak = max(map(abs, values))
    assert f"| `{record}.txt` |" in (folder / "SOURCE.md").read_text(encoding="utf-8")
    assert (len(values), round(peak, 3)) == {"northridge": (2999, 0.416), "kobe": (4096, 0.509)}[record]
