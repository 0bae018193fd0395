"""One event of each class, made from its annotations: what a new class needs no line for."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from runner.model.events import EVENTS, Event

TEXT = "text \x1b[31m\nof two lines"


def sample_events() -> list[Event]:
    """Return the sample events: each class with all of its fields, and with as few as it can have."""
    return [event for kind in EVENTS for event in (make(kind, is_full=True), make(kind, is_full=False))]


def make(shown: type[Any], *, is_full: bool) -> Any:
    hints = get_type_hints(shown)
    wanted = [field for field in fields(shown) if field.init and (is_full or field.default is MISSING)]
    return shown(**{field.name: value_of(hints[field.name], is_full=is_full) for field in wanted})


def value_of(hint: Any, *, is_full: bool) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return value_of(parts[0], is_full=is_full) if is_full else None
    if origin is Literal:
        return parts[0 if is_full else -1]
    if origin is tuple:
        return (value_of(parts[0], is_full=is_full),) * (2 if is_full else 1)
    if is_dataclass(hint) and isinstance(hint, type):
        return make(hint, is_full=is_full)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint)[2]
    return {str: TEXT if is_full else "x", int: 3, float: 1.5, bool: is_full}[hint]


def classes_of(base: type[Event] = Event) -> Iterator[type[Event]]:
    """Yield every class of an event that the product has."""
    for kind in base.__subclasses__():
        yield kind
        yield from classes_of(kind)
