"""What all events share: their text form for people and their JSON form for programs. The kinds of events are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, ClassVar


@dataclass(frozen=True)
class Span:
    """A piece of a line. ``style``: as the library ``rich`` names it, such as ``bold red``; '' for plain text.

    The text may come from outside: a screen escapes its control characters, including line breaks.
    """

    text: str
    style: str = ""


Line = tuple[Span, ...]
Lines = tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. Its subclasses say what; several may share a ``kind`` and differ in ``state``.

    The annotation of each field describes it; ``docs/events.md`` is generated from these.
    """

    kind: ClassVar[str]
    json_names: ClassVar[Mapping[str, str]] = {}  # of fields that have another name in JSON

    def as_text(self) -> Lines | None:
        """Return the lines that a terminal shows; None if it shows nothing."""
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the facts as JSON values; ``--json`` prints them after ``event``, the kind.

        A field with a default value is left out as long as it has that value.
        """
        return {
            self.json_names.get(field.name, field.name): _as_json(getattr(self, field.name))
            for field in fields(self)
            if not self._is_left_out(field)
        }

    def _is_left_out(self, field: Field[Any]) -> bool:
        return may_be_left_out(field) and getattr(self, field.name) == field.default


def may_be_left_out(field: Field[Any]) -> bool:
    """Return whether the JSON form has this field only if it differs from its default."""
    return field.init and field.default is not MISSING


def one_line(text: str, style: str = "") -> Lines:
    """Return a text form of one line in one style."""
    return ((Span(text, style),),)


def split_lines(text: str, style: str = "", *, before: Line = ()) -> Lines:
    """Return a text that may have several lines, the first one after ``before``."""
    first, *others = text.split("\n")
    return ((*before, Span(first, style)), *((Span(other, style),) for other in others))


def _as_json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_as_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields(value)}
    return value
