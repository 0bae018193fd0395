"""The steel frame of ``models/steel_frame_pushover`` by hand: elastic second-order statics and plastic mechanisms.

Units: kN, m. Geometry and loads are written down again from the model's README.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.jobs.frame_statics import (
    Member,
    Point,
    add_element,
    axial_force,
    empty_matrix,
    member_dofs,
    member_stiffness,
    solve,
)

E = 2.1e8
FY = 3.55e5
BAY = 6.0
HEIGHTS = (0.0, 4.0, 7.5, 11.0)
FLOOR_GRAVITY = (720.0, 720.0, 480.0)
LINE_SHARES = (0.25, 0.50, 0.25)


@dataclass(frozen=True, kw_only=True)
class ISection:
    """Depth, flange width, flange and web thickness in m; no fillets."""

    d: float
    b: float
    tf: float
    tw: float

    def layers(self) -> Iterator[tuple[float, float]]:
        """Area and height of each fiber layer: 3 in a flange, 20 in the web."""
        web = self.d - 2 * self.tf
        for k in range(3):
            y = self.d / 2 - self.tf * (k + 0.5) / 3
            yield from ((self.b * self.tf / 3, y), (self.b * self.tf / 3, -y))
        for k in range(20):
            yield self.tw * web / 20, web * ((k + 0.5) / 20 - 0.5)

    @property
    def ea(self) -> float:
        return E * sum(area for area, _ in self.layers())

    @property
    def ei(self) -> float:
        return E * sum(area * y**2 for area, y in self.layers())

    def plastic_moment(self, axial: float = 0.0) -> float:
        """The full plastic moment under ``axial``, whose stress block must find room in the web."""
        half_web = self.d / 2 - self.tf
        block = abs(axial) / (FY * self.tw)
        if block > 2 * half_web:
            raise ValueError(f"{axial} kN does not fit into the web")
        return FY * (self.b * self.tf * (self.d - self.tf) + self.tw * half_web**2 - self.tw * block**2 / 4)


COLUMN = ISection(d=0.300, b=0.300, tf=0.0190, tw=0.0110)
FLOOR_BEAM = ISection(d=0.360, b=0.170, tf=0.0127, tw=0.0080)
ROOF_BEAM = ISection(d=0.270, b=0.135, tf=0.0102, tw=0.0066)
BEAMS = (FLOOR_BEAM, FLOOR_BEAM, ROOF_BEAM)
LATERAL = tuple(
    w * h / sum(g * z for g, z in zip(FLOOR_GRAVITY, HEIGHTS[1:], strict=True))
    for w, h in zip(FLOOR_GRAVITY, HEIGHTS[1:], strict=True)
)


def _number(floor: int, line: int) -> int:
    return 3 * floor + line


def _members() -> Iterator[Member]:
    """Columns first (nine), then beams."""
    for floor in (1, 2, 3):
        for line in range(3):
            yield Member(i=_number(floor - 1, line), j=_number(floor, line), ea=COLUMN.ea, ei=COLUMN.ei)
    for floor, beam in zip((1, 2, 3), BEAMS, strict=True):
        for line in (0, 1):
            yield Member(i=_number(floor, line), j=_number(floor, line + 1), ea=beam.ea, ei=beam.ei)


def elastic_floor_displacements() -> list[float]:
    """Displacements of the floors at the first column line for a base shear of 1 kN, with P-Delta of the gravity."""
    points: list[Point] = [(BAY * line, height) for height in HEIGHTS for line in range(3)]
    members, held = list(_members()), range(9)
    gravity, lateral = {}, {}
    for floor in (1, 2, 3):
        for line, share in enumerate(LINE_SHARES):
            gravity[3 * _number(floor, line) + 1] = -share * FLOOR_GRAVITY[floor - 1]
            lateral[3 * _number(floor, line)] = share * LATERAL[floor - 1]
    first_order = empty_matrix()
    for member in members:
        add_element(first_order, member_dofs(member), member_stiffness(points[member.i], points[member.j], member))
    settled = solve(first_order, gravity, held)
    second_order = empty_matrix()
    for member in members:
        ends = points[member.i], points[member.j]
        force = axial_force(*ends, member, settled) if ends[0][0] == ends[1][0] else 0.0
        add_element(second_order, member_dofs(member), member_stiffness(*ends, member, axial_force=force))
    answer = solve(second_order, lateral, held)
    return [answer[3 * _number(floor, 0)] for floor in (1, 2, 3)]


def base_shear_of_mechanism(lowest: int, highest: int, displacements: list[float]) -> float:
    """Base shear at which storeys ``lowest`` to ``highest`` (1 to 3) sway as a mechanism, by virtual work.

    A turn of 1 of the swaying columns; at a joint the weaker of beams and column yields. ``displacements`` are those of the
    floors, through which the gravity does work as well (P-Delta).
    """
    foot = HEIGHTS[lowest - 1]
    sway = [min(max(z - foot, 0.0), HEIGHTS[highest] - foot) for z in HEIGHTS[1:]]
    drop = [0.0, *displacements]
    sunk = [sum(drop[s] - drop[s - 1] for s in range(lowest, min(floor, highest) + 1)) for floor in (1, 2, 3)]
    inner = _column_hinges(lowest, foot=True) + _joint_hinges(lowest, highest)
    inner += _column_hinges(highest, foot=False) if highest < 3 else 0.0
    gravity_work = sum(weight * s for weight, s in zip(FLOOR_GRAVITY, sunk, strict=True))
    return (inner - gravity_work) / sum(f * s for f, s in zip(LATERAL, sway, strict=True))


def _joint_hinges(lowest: int, highest: int) -> float:
    """Work of the floors that turn: every beam end yields, at the roof unless the column is weaker."""
    floors = range(lowest, highest + (1 if highest == 3 else 0))
    total = 0.0
    for floor in floors:
        moment = BEAMS[floor - 1].plastic_moment()
        for beam_ends in (1, 2, 1):
            total += min(beam_ends * moment, COLUMN.plastic_moment()) if floor == 3 else beam_ends * moment
    return total


def _column_hinges(storey: int, *, foot: bool) -> float:
    """Plastic moments of the three columns of a storey, reduced by gravity and by the overturning of yielded beams.

    ``foot``: of the beams above, all yield in a mechanism from here to the roof; it matters little for the others.
    """
    above = sum(FLOOR_GRAVITY[storey - 1 :])
    couple = sum(2 * beam.plastic_moment() / BAY for beam in BEAMS[storey - 1 :]) if foot else 0.0
    axial = [share * above + sign * couple for share, sign in zip(LINE_SHARES, (-1, 0, 1), strict=True)]
    return sum(COLUMN.plastic_moment(force) for force in axial)
