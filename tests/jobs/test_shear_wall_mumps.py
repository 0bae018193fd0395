"""Domain decomposition: every node against a direct solution by hand, and the roof against beam theory."""

from __future__ import annotations

import pytest

from tests.jobs.conftest import ModelRun, RunJob
from tests.jobs.frame_statics import Point, add_element, empty_matrix, quad_stiffness, solve

WIDTH, HEIGHT, THICKNESS = 4.0, 12.0, 0.25
E, POISSON, FORCE = 3.0e7, 0.2, 500.0
COLUMNS, ROWS = 8, 24


@pytest.fixture(scope="module")
def expected() -> dict[int, Point]:
    """Displacements of every node, numbered row by row from 1."""
    matrix = empty_matrix()
    cell = [(0.0, 0.0), (WIDTH / COLUMNS, 0.0), (WIDTH / COLUMNS, HEIGHT / ROWS), (0.0, HEIGHT / ROWS)]
    stiffness = quad_stiffness(cell, e=E, poisson=POISSON, thickness=THICKNESS)
    for row in range(ROWS):
        for column in range(COLUMNS):
            first = column + row * (COLUMNS + 1)
            corners = (first, first + 1, first + COLUMNS + 2, first + COLUMNS + 1)
            add_element(matrix, [2 * node + k for node in corners for k in (0, 1)], stiffness)
    shares = [0.5 if column in (0, COLUMNS) else 1.0 for column in range(COLUMNS + 1)]
    top = ROWS * (COLUMNS + 1)
    load = {2 * (top + column): FORCE * share / COLUMNS for column, share in enumerate(shares)}
    answer = solve(matrix, load, range(2 * (COLUMNS + 1)))
    return {node + 1: (answer[2 * node], answer[2 * node + 1]) for node in range(top + COLUMNS + 1)}


def _nodes(run: ModelRun, np: int) -> dict[int, list[Point]]:
    """What the ranks wrote; nodes on a cut come twice."""
    found: dict[int, list[Point]] = {}
    for rank in range(np):
        for row in run.table(f"nodes-rank{rank}.csv"):
            found.setdefault(int(row["node"]), []).append((float(row["ux_m"]), float(row["uy_m"])))
    return found


@pytest.mark.parametrize("np", [1, 2, 3])
def test_every_node_agrees_with_the_direct_solution(run_job: RunJob, np: int, expected: dict[int, Point]) -> None:
    run = run_job("batch1.yaml", "shear-wall-mumps", np=np)
    assert run.exit_code == 0, run.output
    assert f"SUCCESS: base shear balances the load of 500.0 kN on {np} ranks" in run.output
    found = _nodes(run, np)
    assert sorted(found) == sorted(expected)
    assert sum(len(values) - 1 for values in found.values()) == (np - 1) * (COLUMNS + 1)
    roof = expected[ROWS * (COLUMNS + 1) + 1][0]
    for node, values in found.items():
        for value in values:
            assert value == pytest.approx(expected[node], abs=1e-9 * roof)
    assert f"roof displacement {roof:.6e}"[:-4] in run.output


def test_the_direct_solution_is_near_beam_theory(expected: dict[int, Point]) -> None:
    """Timoshenko's cantilever, shear area 5/6: the clamped base and the mesh make 1 % of difference."""
    area, inertia = WIDTH * THICKNESS, THICKNESS * WIDTH**3 / 12
    shear_modulus = E / (2 * (1 + POISSON))
    beam = FORCE * HEIGHT**3 / (3 * E * inertia) + FORCE * HEIGHT / (5 / 6 * area * shear_modulus)
    assert expected[ROWS * (COLUMNS + 1) + 1][0] == pytest.approx(beam, rel=0.01)
