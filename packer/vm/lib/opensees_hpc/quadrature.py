"""Points and weights on 0 to 1, for beams with a section for each integration point."""

from __future__ import annotations

from math import cos, pi


def find_points(rule: str, count: int) -> list[tuple[float, float]] | None:
    """Return (location, weight) pairs of a rule by OpenSees' name; None for any other than these two Gauss rules."""
    if rule == "Legendre" and count >= 1:
        return [_scale(x, 2.0 / ((1.0 - x * x) * _legendre(count, x)[1] ** 2)) for x in _legendre_roots(count)]
    if rule == "Lobatto" and count >= 2:
        inner = _lobatto_roots(count)
        outer = 2.0 / (count * (count - 1))
        return [_scale(x, outer / _legendre(count - 1, x)[0] ** 2) for x in (-1.0, *inner, 1.0)]
    return None


def _scale(x: float, weight: float) -> tuple[float, float]:
    return (1.0 + x) / 2.0, weight / 2.0


def _legendre(degree: int, x: float) -> tuple[float, float]:
    """Return Legendre's polynomial and its slope, by the recurrence; the slope is meaningless at the ends."""
    before, value = 1.0, x
    if degree == 0:
        return 1.0, 0.0
    for n in range(2, degree + 1):
        before, value = value, ((2 * n - 1) * x * value - (n - 1) * before) / n
    slope = degree * (x * value - before) / (x * x - 1.0) if abs(x) < 1.0 else 0.0
    return value, slope


def _legendre_roots(count: int) -> list[float]:
    roots = []
    for n in range(count):
        x = -cos(pi * (n + 0.75) / (count + 0.5))
        for _ in range(50):
            value, slope = _legendre(count, x)
            x -= value / slope
        roots.append(x)
    return roots


def _lobatto_roots(count: int) -> list[float]:
    """Return the inner points: where the slope of the polynomial of degree ``count - 1`` is zero."""
    degree = count - 1
    roots = []
    for n in range(1, degree):
        x = -cos(pi * n / degree)
        for _ in range(50):
            value, slope = _legendre(degree, x)
            curvature = (2.0 * x * slope - degree * (degree + 1) * value) / (1.0 - x * x)
            x -= slope / curvature
        roots.append(x)
    return roots
