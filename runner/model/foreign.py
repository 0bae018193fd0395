"""Values from outside, such as from a VM: validated before they are used. What is not valid is a ValueError.

Python's own reader accepts more than JSON (NaN, duplicate names), turns a number that is too big into infinity, and fails
with other errors than ValueError on values that are nested too deeply.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")

MOST_BYTES = 32 << 20  # of a manifest of some 300,000 files
# Python's values of a text may be 25 times as big, and slow to build, so they are counted first (those inside strings too).
MOST_GROUPS = 1_000_000
MOST_VALUES = 4_000_000


def decode_json(content: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: it is not JSON, is too big, has too many values, is nested too deeply, or has a duplicate name.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content)} bytes; at most {MOST_BYTES} are read")
    if content.count(b"[") + content.count(b"{") > MOST_GROUPS or content.count(b",") > MOST_VALUES:
        raise ValueError("it has too many values")
    try:
        return json.loads(
            content.decode("utf-8"), parse_float=_finite, parse_constant=_refuse, object_pairs_hook=_distinct
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def whole_number(value: Any, *, least: int = 0, most: int = (1 << 63) - 1) -> int:
    """Return ``value`` if it is a whole number in this range.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{shorten(value)} is not a whole number from {least} to {most}")
    return value


def real_number(value: Any, *, least: float = 0.0, most: float = 1e15) -> float:
    """Return ``value`` as a number in this range.

    Raises:
        ValueError: it is not one.
    """
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not least <= number <= most:
        raise ValueError(f"{shorten(value)} is not a number from {least:g} to {most:g}")
    return number


def exit_code(value: Any) -> int:
    """Return ``value`` if it can be an exit code.

    Raises:
        ValueError: it is not.
    """
    return whole_number(value, least=-(1 << 31), most=(1 << 32) - 1)


def optional(read: Callable[[Any], Value], value: Any) -> Value | None:
    """Return what ``read`` makes of ``value``; None for None."""
    return None if value is None else read(value)


def plain_text(value: Any) -> str:
    """Return ``value`` if it is text.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str):
        raise ValueError(f"{shorten(value)} is not text")
    return value


def shorten(value: Any, most: int = 200) -> str:
    """Return a value's ``repr``, cut if that is long."""
    try:
        text = repr(value[:most] if isinstance(value, str | bytes | list) else value)
    except (ValueError, RecursionError) as error:  # a number of too many digits; nested too deeply
        text = f"a {type(value).__name__} that cannot be shown ({error})"
    return text if len(text) <= most else f"{text[:most]}…"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:50]} is too big")
    return number


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("it has a duplicate name")
    return values
