"""Words of a Tcl command as values for OpenSeesPy, without Tcl's interpreter or OpenSees."""

from __future__ import annotations

import re
from collections.abc import Sequence

Value = int | float | str

INTEGER = re.compile(r"[+-]?\d+")
REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def parse_word(word: str) -> Value:
    """Return the number that a word spells, else the word. Stricter than Python: ``1_000``, ``nan`` and ``inf`` are names."""
    text = word.strip()
    if INTEGER.fullmatch(text):
        return int(text)
    if REAL.fullmatch(text):
        return float(text)
    return word


def parse_list(word: str) -> list[Value] | None:
    """Return the numbers of a word that is a list of numbers only (``{1 2 3}``, nested or not), else None."""
    values = [parse_word(part) for part in word.replace("{", " ").replace("}", " ").split()]
    if any(isinstance(value, str) for value in values):
        return None
    return values


def parse_words(words: Sequence[str]) -> list[Value]:
    """Return all words of a command as arguments.

    A list of numbers becomes these numbers, as ``-values $list`` needs; any other word stays one argument, so a
    file name may contain spaces. The word after an option that names a file is never a number. Empty words are dropped.
    """
    values: list[Value] = []
    names_file = False
    for word in words:
        numbers = None if names_file or not word.strip() else parse_list(word)
        if numbers is not None:
            values += numbers
        elif word != "":
            values.append(word)
        names_file = word.startswith(("-file", "-xml", "-binary", "-csv"))
    return values
