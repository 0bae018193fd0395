"""A bilinear oscillator under ground motion, integrated by hand: Newmark's average acceleration, exact at each step.

Nothing here knows OpenSees. Units: kN, m, s, t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Oscillator:
    """``hardening`` is the ratio of the stiffness after yield to ``stiffness``; the damping is viscous and constant."""

    mass: float
    stiffness: float
    yield_force: float
    hardening: float
    damping: float

    def force(self, displacement: float, last_displacement: float, last_force: float) -> float:
        """Bilinear kinematic hardening: the elastic force from the last state, held between two parallel lines."""
        elastic = last_force + self.stiffness * (displacement - last_displacement)
        middle = self.hardening * self.stiffness * displacement
        half_width = (1 - self.hardening) * self.yield_force
        return min(max(elastic, middle - half_width), middle + half_width)


def interpolate(values: Sequence[float], step_s: float) -> Callable[[float], float]:
    """A record as a function of time: straight lines between its points and to a zero after the last, then nothing."""
    points = [*values, 0.0]

    def at(time_s: float) -> float:
        place = time_s / step_s
        index = int(place + 1e-9)
        if index >= len(points) - 1:
            return 0.0
        return points[index] + (points[index + 1] - points[index]) * (place - index)

    return at


def integrate(oscillator: Oscillator, ground: Callable[[float], float], dt_s: float, steps: int) -> list[float]:
    """Displacements relative to the ground at 0, dt, 2 dt, …; at rest at first (its acceleration as well).

    Average acceleration gives velocity and acceleration as linear functions of the new displacement u, so equilibrium is one
    equation in u. It grows with u, along three straight pieces: bisection would do, Newton's method needs a few turns.
    """
    u = v = a = force = 0.0
    answer = [u]
    for step in range(1, steps + 1):
        u, v, a, force = _advance(oscillator, (u, v, a, force), ground(step * dt_s), dt_s)
        answer.append(u)
    return answer


State = tuple[float, float, float, float]


def _advance(o: Oscillator, state: State, ground: float, dt_s: float) -> State:
    """The state (u, v, a, force) a step later."""
    u0, v0, a0, f0 = state
    inertia, drag = 4 / dt_s**2, 2 / dt_s

    def out_of_balance(u: float) -> float:
        acceleration = inertia * (u - u0 - dt_s * v0) - a0
        velocity = drag * (u - u0) - v0
        return o.mass * (acceleration + ground) + o.damping * velocity + o.force(u, u0, f0)

    linear = o.mass * inertia + o.damping * drag
    u = u0
    for _ in range(60):
        rest = out_of_balance(u)
        elastic = o.force(u, u0, f0) == f0 + o.stiffness * (u - u0)
        change = rest / (linear + o.stiffness * (1.0 if elastic else o.hardening))
        u -= change
        if abs(change) <= 1e-15 * max(1.0, abs(u)):
            break
    return u, drag * (u - u0) - v0, inertia * (u - u0 - dt_s * v0) - a0, o.force(u, u0, f0)
