"""The pure parts of the Tcl front end: words, beams in old syntax, quadrature, the arguments of print."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import pytest

from packer.vm.lib.opensees_hpc.beams import translate_beam
from packer.vm.lib.opensees_hpc.dialect import order_print
from packer.vm.lib.opensees_hpc.quadrature import find_points
from packer.vm.lib.opensees_hpc.words import Value, parse_word, parse_words


@pytest.mark.parametrize(
    ("word", "value"),
    [("1", 1), ("-3", -3), ("+2", 2), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("-1.5E-2", -0.015), (" 7 ", 7)],
)
def test_numbers_are_numbers(word: str, value: float) -> None:
    assert parse_word(word) == value
    assert type(parse_word(word)) is type(value)


@pytest.mark.parametrize("word", ["1_000", "nan", "inf", "Infinity", "1e", "0x10", "Steel01", "-mat", "1-2", "", "1 2"])
def test_everything_else_is_a_name(word: str) -> None:
    assert parse_word(word) == word


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["-values", "1 2.5 3"], ["-values", 1, 2.5, 3]),
        (["{1 2} {3 4}"], [1, 2, 3, 4]),
        (["-file", "1"], ["-file", "1"]),
        (["-filePath", "1 2", "-factor", "2"], ["-filePath", "1 2", "-factor", 2]),
        (["my results.out"], ["my results.out"]),
        (["", "1", "{}"], [1]),
        (["a b", "1\n2"], ["a b", 1, 2]),
    ],
)
def test_only_lists_of_numbers_are_spread(words: list[str], values: list[Value]) -> None:
    assert parse_words(words) == values


class Integrations:
    """Records the integrations that were requested."""

    def __init__(self) -> None:
        self.made: list[tuple[str, list[Value]]] = []

    def make(self, rule: str, arguments: Sequence[Value]) -> int:
        self.made.append((rule, list(arguments)))
        return 100 + len(self.made)


@pytest.mark.parametrize(
    ("words", "translated", "made"),
    [
        ("forceBeamColumn 1 1 2 5 7 9", "forceBeamColumn 1 1 2 9 101", [("Lobatto", [7, 5])]),
        ("dispBeamColumn 1 1 2 3 7 9 -mass 0.5", "dispBeamColumn 1 1 2 9 101 -mass 0.5", [("Legendre", [7, 3])]),
        (
            "forceBeamColumn 1 1 2 5 7 9 -integration Radau -iter 10 1e-8",
            "forceBeamColumn 1 1 2 9 101 -iter 10 1e-8",
            [("Radau", [7, 5])],
        ),
        ("forceBeamColumn 1 1 2 3 -sections 7 7 7 9", "forceBeamColumn 1 1 2 9 101", [("Lobatto", [7, 3])]),
        ("forceBeamColumn 1 1 2 9 4", "forceBeamColumn 1 1 2 9 4", []),
        ("forceBeamColumn 1 1 2 9 4 -mass 2", "forceBeamColumn 1 1 2 9 4 -mass 2", []),
        ("nonlinearBeamColumn 1 1 2 5 7 9", "nonlinearBeamColumn 1 1 2 5 7 9", []),
        ("elasticBeamColumn 1 1 2 10 20 30 1", "elasticBeamColumn 1 1 2 10 20 30 1", []),
        ("truss", "truss", []),
    ],
)
def test_old_beams(words: str, translated: str, made: list[tuple[str, list[Value]]]) -> None:
    integrations = Integrations()
    values = translate_beam(parse_words(words.split()), str.split, integrations.make)
    assert values == parse_words(translated.split())
    assert integrations.made == made


def test_an_integration_in_quotes() -> None:
    integrations = Integrations()
    words = parse_words(["forceBeamColumn", "1", "1", "2", "9", "HingeRadau 1 5.0 2 5.0 3", "-iter", "10", "1e-8"])
    assert translate_beam(words, str.split, integrations.make)[4:] == [9, 101, "-iter", 10, 1e-8]
    assert integrations.made == [("HingeRadau", [1, 5.0, 2, 5.0, 3])]


def test_a_section_for_each_point() -> None:
    integrations = Integrations()
    words = parse_words(["forceBeamColumn", "1", "1", "2", "3", "-sections", "7", "8", "7", "9"])
    assert translate_beam(words, str.split, integrations.make) == ["forceBeamColumn", 1, 1, 2, 9, 101]
    [(rule, arguments)] = integrations.made
    assert (rule, arguments[:4]) == ("UserDefined", [3, 7, 8, 7])
    assert arguments[4:] == pytest.approx([0, 0.5, 1, 1 / 6, 2 / 3, 1 / 6])


@pytest.mark.parametrize("rule", ["Legendre", "Lobatto"])
@pytest.mark.parametrize("count", range(2, 11))
def test_quadrature_is_exact_for_the_polynomials_that_it_must_be(rule: str, count: int) -> None:
    points = find_points(rule, count)
    assert points is not None
    for degree in range(2 * count - 2 if rule == "Lobatto" else 2 * count):
        assert sum(weight * x**degree for x, weight in points) == pytest.approx(1 / (degree + 1), rel=1e-12)


def test_known_points() -> None:
    [first, second] = find_points("Legendre", 2) or []
    assert first == pytest.approx(((1 - 1 / sqrt(3)) / 2, 0.5))
    assert second == pytest.approx(((1 + 1 / sqrt(3)) / 2, 0.5))
    assert find_points("Lobatto", 1) is None
    assert find_points("Radau", 3) is None


@pytest.mark.parametrize(
    ("words", "ordered"),
    [
        ("-file p.out -node 1 2", "-file p.out -node -flag 0 1 2"),
        ("p.out -ele 3", "-file p.out -ele -flag 0 3"),
        ("-file m.json -JSON", "-JSON -file m.json"),
        ("-node 1", "-node 1"),
        ("node 1", "node 1"),
        ("", ""),
    ],
)
def test_arguments_of_print_are_reordered(words: str, ordered: str) -> None:
    assert order_print(parse_words(words.split())) == parse_words(ordered.split())
