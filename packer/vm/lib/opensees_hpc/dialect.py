"""Where the Tcl dialect of OpenSees differs from OpenSeesPy: inline time series, fibre-section bodies, old beam syntax.

Each method takes the words of a Tcl command, calls OpenSeesPy, and returns what the Tcl command returns. Bodies in
braces are not seen here: ``opensees.tcl`` evaluates them after the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .beams import take_option, translate_beam
from .words import Value, parse_word, parse_words

FIRST_OWN_TAG = 900_000_000
"""Tags for objects that Tcl scripts write inline and OpenSeesPy needs by tag; far from the tags that users choose."""

MOTION_OPTIONS = ("-accel", "-vel", "-disp")
PRINTED = ("-node", "-ele", "node", "ele", "-nodes", "-elements")


class Dialect:
    """The commands of ``ops`` (the module openseespy.opensees) that need a translation; ``split`` splits a Tcl list."""

    def __init__(self, ops: Any, split: Callable[[str], Sequence[str]]) -> None:
        self._ops = ops
        self._split = split
        self._last_tag = FIRST_OWN_TAG

    def commands(self) -> dict[str, Callable[..., Any]]:
        """Return the method for each translated command, by its Tcl name."""
        return {
            "model": self.define_model,
            "timeSeries": self.define_series,
            "pattern": self.define_pattern,
            "groundMotion": self.define_motion,
            "element": self.define_element,
            "block2D": self.define_block,
            "block3D": self.define_block,
            "print": lambda *words: self._ops.printModel(*order_print(parse_words(words))),
            "send": self.send,
            "recv": self.receive,
        }

    def define_model(self, *words: str) -> Any:
        """Define ``model BasicBuilder -ndm 2``: OpenSeesPy accepts fewer spellings of the builder."""
        builder, *options = words or ("",)
        if builder.lower() in ("basic", "basicbuilder"):
            builder = "basic"
        return self._ops.model(builder, *parse_words(options))

    def define_series(self, *words: str) -> Any:
        """Define ``timeSeries Series 1 …``, the old name of a path."""
        values = parse_words(words)
        return self._ops.timeSeries(*_rename_path(values[:1]), *values[1:])

    def _inline_series(self, word: str) -> int:
        """Return the tag of a series: the word itself, or that of a new series as the word describes it (``"Linear -factor 2"``)."""
        parts = list(self._split(word))
        if len(parts) == 1 and isinstance(tag := parse_word(parts[0]), int):
            return tag
        values = parse_words(parts)
        tag = self._new_tag()
        self._ops.timeSeries(*_rename_path(values[:1]), tag, *values[1:])
        return tag

    def define_pattern(self, *words: str) -> Any:
        """Define ``pattern Plain 1 "Linear" …`` or ``pattern UniformExcitation 1 1 -accel "Series -dt …"``."""
        kind, *rest = words or ("",)
        if kind == "Plain" and len(rest) > 1:
            series = self._inline_series(rest[1])
            return self._ops.pattern(kind, parse_word(rest[0]), series, *parse_words(rest[2:]))
        return self._ops.pattern(kind, *self._with_motions(rest))

    def define_motion(self, *words: str) -> Any:
        """Define ``groundMotion 1 Plain -accel $series``, with the series by tag or inline."""
        return self._ops.groundMotion(*self._with_motions(words))

    def _with_motions(self, words: Sequence[str]) -> list[Value]:
        values: list[Value] = []
        for before, word in zip(("", *words), words, strict=False):
            values += [self._inline_series(word)] if before in MOTION_OPTIONS else parse_words([word])
        return values

    def define_element(self, *words: str) -> Any:
        """Define an ``element``; beams also in their old syntax."""
        return self._ops.element(*translate_beam(parse_words(words), self._split, self._new_integration))

    def _new_integration(self, rule: str, arguments: Sequence[Value]) -> int:
        tag = self._new_tag()
        self._ops.beamIntegration(rule, tag, *arguments)
        return tag

    def define_block(self, *words: str) -> Any:
        """Define ``block2D 4 4 1 1 quad "1 PlaneStrain 1" {…}``: the element's arguments are one word in Tcl."""
        split = [part for word in words for part in self._split(word)]
        name = "block2D" if len(words) < 8 else "block3D"
        return getattr(self._ops, name)(*parse_words(split))

    def send(self, *words: str) -> Any:
        """Run ``send -pid 1 $value``; without ``-pid`` the value goes from rank 0 to all."""
        if len(words) == 3 and words[0] == "-pid":
            return self._ops.send("-pid", int(words[1]), words[2])
        return self._ops.Bcast(*words)

    def receive(self, *words: str) -> Any:
        """Run ``recv -pid 0 name``; ``opensees.tcl`` has removed the variable's name and sets the variable."""
        if len(words) == 2 and words[0] == "-pid":
            return self._ops.recv("-pid", parse_word(words[1]))
        return self._ops.Bcast()

    def _new_tag(self) -> int:
        self._last_tag += 1
        return self._last_tag


def _rename_path(kind: list[Value]) -> list[Value]:
    return ["Path" if kind[0] in ("Series", "PathSeries") else kind[0]] if kind else []


def order_print(values: list[Value]) -> list[Value]:
    """Return the arguments of ``print`` in OpenSeesPy's order: JSON, the file, and a flag before tags that are printed to a file."""
    first = str(values[0]) if values else ""
    if first and not first.startswith("-") and first not in PRINTED:
        values = ["-file", *values]
    file, rest = take_option(values, "-file", "")
    json = [value for value in rest if value == "-JSON"]
    rest = [value for value in rest if value != "-JSON"]
    if file and rest and rest[0] in PRINTED and "-flag" not in rest:
        rest = [rest[0], "-flag", 0, *rest[1:]]
    return [*json, *(["-file", file] if file else []), *rest]
