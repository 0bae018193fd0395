"""YAML text to plain values, with the position of each one, so that every error can name line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from runner.errors import InputError, InputProblem

Location = tuple[int | str, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2: ``on``, ``1:30``, ``010``, ``1_000`` and dates are text."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse an alias of a node that is still being read: an alias of it would make it contain itself."""
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if is_alias and node is not None and node.end_mark is None:
            raise yaml.composer.ComposerError(None, None, "a value contains itself", node.start_mark)
        return node


_NUMBER_STARTS = "-+.0123456789"
_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", _NUMBER_STARTS),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _NUMBER_STARTS,
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "merge": (r"<<", "<"),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _starts) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_starts))


@dataclass(frozen=True, kw_only=True)
class YamlSource:
    """The values of a YAML file and their positions: ``marks[location]`` is a 1-based (line, column).

    ``texts[location]``: a scalar other than null as it is written, without quotes.
    """

    file: Path
    values: Any
    marks: dict[Location, tuple[int, int]] = field(repr=False)
    texts: dict[Location, str] = field(repr=False)

    def position(self, location: Sequence[int | str]) -> tuple[int, int]:
        """Return the line and column of the value at ``location``, or of the nearest one above it."""
        at = tuple(location)
        while at and at not in self.marks:
            at = at[:-1]
        return self.marks.get(at, (1, 1))

    def problem(self, location: Sequence[int | str], message: str, remedy: str = "") -> InputProblem:
        """Return a problem with the value at ``location``."""
        line, column = self.position(location)
        return InputProblem(file=self.file, line=line, column=column, message=message, remedy=remedy)


def decode_yaml(data: bytes, file: Path) -> str:
    """Read the text of a YAML file.

    Raises:
        InputError: it is not UTF-8, with the line and column.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        message = f"cannot be read: byte 0x{data[error.start]:02x} is not UTF-8 text"
        raise _invalid(file, line, column, message, "save the file with the encoding UTF-8") from error


def read_yaml(text: str, file: Path) -> YamlSource:
    """Parse ``text``, which came from ``file``.

    Raises:
        InputError: a syntax error or a key that appears twice, with its line and column.
    """
    twice: list[InputProblem] = []
    marks: dict[Location, tuple[int, int]] = {}
    texts: dict[Location, str] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            twice += _repeated_keys(node, file)
        values = None if node is None else loader.construct_document(node)
        for location, position, value in _walk(node, ()) if node is not None else ():
            marks[location] = position
            if isinstance(value, yaml.ScalarNode) and value.tag != "tag:yaml.org,2002:null":
                texts[location] = value.value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _invalid(file, line, column, f"not valid YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"not valid YAML: the character {text[error.position]!a} is not allowed"
        raise _invalid(file, line, column, message, "remove it, or write it as an escape in double quotes") from error
    except RecursionError as error:
        raise _invalid(file, 1, 1, "not valid YAML: nested too deeply", "use fewer levels") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise _invalid(file, 1, 1, f"not valid YAML: {error}") from error
    if twice:
        raise InputError(twice)
    return YamlSource(file=file, values=values, marks=marks, texts=texts)


def _invalid(file: Path, line: int, column: int, message: str, remedy: str = "") -> InputError:
    remedy = remedy or "correct the text there or just before it; texts with : # [ { * & ! need quotes"
    return InputError([InputProblem(file=file, line=line, column=column, message=message, remedy=remedy)])


def _repeated_keys(node: yaml.Node, file: Path) -> Iterator[InputProblem]:
    """Yield a problem for each key that is already in the same mapping. Call it before ``<<`` merges the keys of another one."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                line, column = _position(key)
                message = f"the key {key.value!r} appears here a second time"
                yield InputProblem(file=file, line=line, column=column, message=message, remedy="remove one of the two")
            seen.add(str(key.value))
            yield from _repeated_keys(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, file)


def _walk(node: yaml.Node, location: Location) -> Iterator[tuple[Location, tuple[int, int], yaml.Node]]:
    """Yield each value with its location and its position, which is that of its key if it has one."""
    if not location:
        yield location, _position(node), node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*location, str(key.value))
            yield here, _position(key), value
            yield from _walk(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            here = (*location, index)
            yield here, _position(item), item
            yield from _walk(item, here)


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
