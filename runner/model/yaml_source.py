"""YAML text to plain values, remembering where each one stood, so that every complaint can name line and column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from runner.errors import InputError, InputProblem

Location = tuple[int | str, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader that leaves ``1:30`` (base 60), ``on`` and dates as text: nobody means those in a jobs file."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, kw_only=True)
class YamlSource:
    """The values of a YAML file and their places: ``marks[location]`` is a 1-based (line, column)."""

    file: Path
    values: Any
    marks: dict[Location, tuple[int, int]] = field(repr=False)

    def place(self, location: Sequence[int | str]) -> tuple[int, int]:
        """Where the value at ``location``, or the nearest one above it, stands."""
        at = tuple(location)
        while at and at not in self.marks:
            at = at[:-1]
        return self.marks.get(at, (1, 1))

    def problem(self, location: Sequence[int | str], message: str, remedy: str = "") -> InputProblem:
        """A complaint about the value at ``location``."""
        line, column = self.place(location)
        return InputProblem(file=self.file, line=line, column=column, message=message, remedy=remedy)


def read_yaml(text: str, file: Path) -> YamlSource:
    """Parse ``text``, which came from ``file``.

    Raises:
        InputError: a syntax error or a key that stands twice, with its line and column.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        values = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = f"not valid YAML: {error.problem or error.context}"
        raise InputError([InputProblem(file=file, line=line, column=column, message=message)]) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise InputError([InputProblem(file=file, line=1, column=1, message=f"not valid YAML: {error}")]) from error
    marks: dict[Location, tuple[int, int]] = {}
    twice: list[InputProblem] = []
    if node is not None:
        for location, place, repeated in _walk(node, ()):
            marks.setdefault(location, place)
            if repeated:
                message = f"the key {location[-1]!r} stands here a second time"
                twice.append(InputProblem(file=file, line=place[0], column=place[1], message=message))
    if twice:
        raise InputError(twice)
    return YamlSource(file=file, values=values, marks=marks)


def _walk(node: yaml.Node, location: Location) -> Iterator[tuple[Location, tuple[int, int], bool]]:
    """Each value's location and place, and whether its key stood in the same mapping before."""
    if not location:
        yield location, _place(node), False
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = (*location, str(key.value))
            yield here, _place(key), str(key.value) in seen
            seen.add(str(key.value))
            yield from _walk(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            here = (*location, index)
            yield here, _place(item), False
            yield from _walk(item, here)


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
