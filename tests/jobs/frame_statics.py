"""Linear statics written by hand, for comparison: plane frames by direct stiffness, plane stress by bilinear quads.

Nothing here knows OpenSees. Pure Python: the systems are small and banded.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Matrix = defaultdict[int, defaultdict[int, float]]
Point = tuple[float, float]


def empty_matrix() -> Matrix:
    """A sparse matrix: rows of columns."""
    return defaultdict(lambda: defaultdict(float))


def add_element(matrix: Matrix, dofs: list[int], stiffness: list[list[float]]) -> None:
    """Scatter an element's stiffness."""
    for i, row in zip(dofs, stiffness, strict=True):
        for j, value in zip(dofs, row, strict=True):
            matrix[i][j] += value


def solve(matrix: Matrix, load: Mapping[int, float], held: Iterable[int]) -> dict[int, float]:
    """Displacements of a symmetric, positive definite system, zero at ``held``; elimination without pivoting."""
    fixed = set(held)
    free = [dof for dof in sorted(matrix) if dof not in fixed]
    rows = {i: {j: v for j, v in matrix[i].items() if j not in fixed} for i in free}
    right = {dof: load.get(dof, 0.0) for dof in free}
    for pivot in free:
        below = [i for i in rows[pivot] if i > pivot]
        for i in below:
            factor = rows[i][pivot] / rows[pivot][pivot]
            for j in [*below, pivot]:
                rows[i][j] = rows[i].get(j, 0.0) - factor * rows[pivot][j]
            right[i] -= factor * right[pivot]
    answer = dict.fromkeys(fixed, 0.0)
    for dof in reversed(free):
        rest = sum(value * answer[j] for j, value in rows[dof].items() if j > dof)
        answer[dof] = (right[dof] - rest) / rows[dof][dof]
    return answer


@dataclass(frozen=True, kw_only=True)
class Member:
    """A straight Euler-Bernoulli member from ``i`` to ``j`` (node numbers), rigidly joined."""

    i: int
    j: int
    ea: float
    ei: float


def member_dofs(member: Member) -> list[int]:
    """Three at each node: x, y, rotation."""
    return [3 * node + k for node in (member.i, member.j) for k in range(3)]


def member_stiffness(start: Point, end: Point, member: Member, *, axial_force: float = 0.0) -> list[list[float]]:
    """Stiffness in global axes; ``axial_force`` (tension positive) adds N/L against a turn of the chord (P-Delta)."""
    length, a = math.dist(start, end), member.ea / math.dist(start, end)
    b, c = 12 * member.ei / length**3 + axial_force / length, 6 * member.ei / length**2
    d, e = 4 * member.ei / length, 2 * member.ei / length
    local = [
        [a, 0, 0, -a, 0, 0],
        [0, b, c, 0, -b, c],
        [0, c, d, 0, -c, e],
        [-a, 0, 0, a, 0, 0],
        [0, -b, -c, 0, b, -c],
        [0, c, e, 0, -c, d],
    ]
    turn = _turn((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    return _congruent(turn, local)


def axial_force(start: Point, end: Point, member: Member, answer: Mapping[int, float]) -> float:
    """Tension in a member for nodal displacements ``answer``."""
    length = math.dist(start, end)
    cos, sin = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    i, j = 3 * member.i, 3 * member.j
    return member.ea / length * (cos * (answer[j] - answer[i]) + sin * (answer[j + 1] - answer[i + 1]))


def _turn(cos: float, sin: float) -> list[list[float]]:
    block = [[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]
    return [[block[r % 3][c % 3] if r // 3 == c // 3 else 0.0 for c in range(6)] for r in range(6)]


def _congruent(turn: list[list[float]], local: list[list[float]]) -> list[list[float]]:
    """Transposed turn x local x turn."""
    size = range(len(local))
    half = [[sum(local[r][k] * turn[k][c] for k in size) for c in size] for r in size]
    return [[sum(turn[k][r] * half[k][c] for k in size) for c in size] for r in size]


def quad_stiffness(corners: list[Point], *, e: float, poisson: float, thickness: float) -> list[list[float]]:
    """A bilinear quadrilateral in plane stress, corners counter-clockwise, 2 x 2 Gauss points."""
    total = [[0.0] * 8 for _ in range(8)]
    factor = e / (1 - poisson**2)
    elastic = [[factor, poisson * factor, 0.0], [poisson * factor, factor, 0.0], [0.0, 0.0, factor * (1 - poisson) / 2]]
    gauss = 1 / math.sqrt(3)
    for xi, eta in ((-gauss, -gauss), (gauss, -gauss), (gauss, gauss), (-gauss, gauss)):
        strain, area = _strain_rows(corners, xi, eta)
        for r in range(8):
            stress = [sum(elastic[k][m] * strain[m][r] for m in range(3)) for k in range(3)]
            for c in range(8):
                total[r][c] += thickness * area * sum(stress[k] * strain[k][c] for k in range(3))
    return total


def _strain_rows(corners: list[Point], xi: float, eta: float) -> tuple[list[list[float]], float]:
    """The strain-displacement matrix (3 x 8) at a point, and the Jacobian's determinant."""
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    by_xi = [s * (1 + t * eta) / 4 for s, t in signs]
    by_eta = [t * (1 + s * xi) / 4 for s, t in signs]
    x_xi, y_xi = (sum(d * p[k] for d, p in zip(by_xi, corners, strict=True)) for k in (0, 1))
    x_eta, y_eta = (sum(d * p[k] for d, p in zip(by_eta, corners, strict=True)) for k in (0, 1))
    area = x_xi * y_eta - x_eta * y_xi
    by_x = [(y_eta * a - y_xi * b) / area for a, b in zip(by_xi, by_eta, strict=True)]
    by_y = [(x_xi * b - x_eta * a) / area for a, b in zip(by_xi, by_eta, strict=True)]
    normal_x = [value for d in by_x for value in (d, 0.0)]
    normal_y = [value for d in by_y for value in (0.0, d)]
    shear = [value for x, y in zip(by_x, by_y, strict=True) for value in (y, x)]
    return [normal_x, normal_y, shear], area
