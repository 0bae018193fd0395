"""Beam elements in the old Tcl syntax, which has sections and points where OpenSeesPy needs an integration object."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .quadrature import find_points
from .words import Value, parse_word

DEFAULT_RULES = {"forcebeamcolumn": "Lobatto", "dispbeamcolumn": "Legendre"}
"""The elements to translate, with the quadrature that OpenSees uses in Tcl unless ``-integration`` names another."""

MakeIntegration = Callable[[str, Sequence[Value]], int]
"""Defines a beam integration of that kind with these arguments, and returns its tag."""


def translate_beam(values: list[Value], split: Callable[[str], Sequence[str]], make: MakeIntegration) -> list[Value]:
    """Return the words of ``element`` with an integration tag where they need one; anything else stays as it is.

    ``element forceBeamColumn 1 1 2 5 $section $transf``, ``… 5 -sections $s1 … $s5 $transf``,
    ``… $transf "HingeRadau …"``.
    """
    rule = DEFAULT_RULES.get(str(values[0]).lower()) if values else None
    head, tail = values[:4], values[4:]
    if rule is None or len(tail) < 2:
        return values
    if tail[1] == "-sections" and isinstance(points := tail[0], int):
        sections, rest = tail[2 : 2 + points], tail[2 + points :]
        rule, options = take_option(rest[1:], "-integration", rule)
        return [*head, *rest[:1], make(*_mix_sections(rule, sections)), *options]
    if isinstance(tail[1], str) and not tail[1].startswith("-"):
        name, *arguments = [parse_word(part) for part in split(tail[1])]
        return [*head, tail[0], make(str(name), arguments), *tail[2:]]
    if len(tail) >= 3 and all(isinstance(value, int) for value in tail[:3]):
        rule, options = take_option(tail[3:], "-integration", rule)
        return [*head, tail[2], make(rule, [tail[1], tail[0]]), *options]
    return values


def _mix_sections(rule: str, sections: list[Value]) -> tuple[str, list[Value]]:
    """Return a rule with a section for each point, which OpenSeesPy accepts only with explicit points and weights."""
    points = find_points(rule, len(sections))
    if len(set(sections)) == 1 or points is None:
        return rule, [sections[0], len(sections)]
    locations = [location for location, _weight in points]
    weights = [weight for _location, weight in points]
    return "UserDefined", [len(sections), *sections, *locations, *weights]


def take_option(values: list[Value], option: str, default: str) -> tuple[str, list[Value]]:
    """Return the value of an option, and the values without it."""
    if option not in values[:-1]:
        return default, values
    at = values.index(option)
    return str(values[at + 1]), values[:at] + values[at + 2 :]
