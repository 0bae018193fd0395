"""Values that somebody else wrote, a VM perhaps: read without trust. Whatever it is, it is a value that can be used, or a ValueError.

Python's own reader takes more than JSON is (NaN, a name twice), makes an infinity of a number that is too big, and gives up
with other errors than ValueError on what is nested too deep.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")

MOST_BYTES = 32 << 20  # of a manifest of some 300,000 files
# What Python makes of a text may be 25 times as big, and takes its time: counted before, with what stands in names.
MOST_GROUPS = 1_000_000
MOST_VALUES = 4_000_000


def decode_json(content: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: it is none, is too big, has too many values, is nested too deep, or says a name twice.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content)} bytes, and {MOST_BYTES} are the most")
    if content.count(b"[") + content.count(b"{") > MOST_GROUPS or content.count(b",") > MOST_VALUES:
        raise ValueError("it has too many values")
    try:
        return json.loads(
            content.decode("utf-8"), parse_float=_finite, parse_constant=_refuse, object_pairs_hook=_distinct
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def whole_number(value: Any, *, least: int = 0, most: int = (1 << 63) - 1) -> int:
    """``value`` as it is, if it is a whole number in this range.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{shorten(value)} is not a whole number from {least} to {most}")
    return value


def real_number(value: Any, *, least: float = 0.0, most: float = 1e15) -> float:
    """``value`` as a number in this range.

    Raises:
        ValueError: it is none.
    """
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not least <= number <= most:
        raise ValueError(f"{shorten(value)} is not a number from {least:g} to {most:g}")
    return number


def exit_code(value: Any) -> int:
    """``value`` as it is, if a program can end with it.

    Raises:
        ValueError: it is not.
    """
    return whole_number(value, least=-(1 << 31), most=(1 << 32) - 1)


def optional(read: Callable[[Any], Value], value: Any) -> Value | None:
    """Return what ``read`` makes of ``value``; None for None."""
    return None if value is None else read(value)


def plain_text(value: Any) -> str:
    """``value`` as it is, if it is text.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str):
        raise ValueError(f"{shorten(value)} is not text")
    return value


def shorten(value: Any, most: int = 200) -> str:
    """Return how a value is written in Python, cut if that is long."""
    try:
        text = repr(value[:most] if isinstance(value, str | bytes | list) else value)
    except (ValueError, RecursionError) as error:  # a number of too many digits; nested too deep
        text = f"a {type(value).__name__} that cannot be shown ({error})"
    return text if len(text) <= most else f"{text[:most]}…"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:50]} is too big a number")
    return number


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("it says a name twice")
    return made
