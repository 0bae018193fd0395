"""Arguments as the user typed them, checked before anything is begun. Numbers come as text: Invoke itself would refuse a wrong one
with a traceback or with its own exit code, and not as an event where ``--json`` was given."""

from __future__ import annotations

import shlex

from runner.errors import InputError
from runner.model import names
from runner.model.foreign import shorten

MOST = (1 << 63) - 1
MOST_DIGITS = len(str(MOST))


def read_whole_number(option: str, text: str, *, least: int, most: int = MOST) -> int | None:
    """Return the number that was given with ``option``; None if none was.

    Raises:
        InputError: it is not a whole number in this range.
    """
    if not text:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS
    if not is_number or not least <= int(text) <= most:
        raise InputError(
            f"{option} {shorten(text)}: not a whole number from {least} to {most}", remedy=f"for example: {option} 7"
        )
    return int(text)


def read_words(option: str, text: str) -> list[str]:
    """Return the words that were given with ``option``, as a shell would divide them.

    Raises:
        InputError: a quote has no end.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{option} {shorten(text)}: {error}", remedy="close each quote") from error


def check_batch_name(name: str, *, remedy: str = "`invoke status` shows what exists") -> None:
    """Make sure that a batch can have this name.

    Raises:
        InputError: none can.
    """
    if not names.is_batch_name(name):
        raise InputError(f"{shorten(name)} is not the name of a batch", remedy=remedy)
