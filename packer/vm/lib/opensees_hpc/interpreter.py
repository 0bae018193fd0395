"""A Tcl interpreter with the commands of OpenSees. It knows of no ranks, processes or exit codes, except for ``exit N``."""

from __future__ import annotations

import _tkinter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .dialect import Dialect
from .words import parse_words

WITH_BODY = ("pattern", "section")
NOT_COMMANDS = ("OpenSeesError", "OpenSeesParameter", "printModel", "sys")


@dataclass(frozen=True, kw_only=True)
class ScriptEnd:
    """How a script ended: the code it gave to ``exit`` (0 without one), or the Tcl error with its trace."""

    exit_code: int
    error: str = ""


class Interpreter:
    """Runs one script. ``ops`` is the module openseespy.opensees."""

    def __init__(self, ops: ModuleType) -> None:
        self._tcl: Any = _tkinter.create(None, "openseesmp", "OpenSees", False, True, False, False, None)
        self._exit_code: int | None = None
        self._commands = self._collect_commands(ops)
        self._tcl.createcommand("::opensees::call", self._call)
        self._tcl.createcommand("::opensees::leave", self._note_exit)
        self._tcl.call("source", str(Path(__file__).with_name("opensees.tcl")))
        for name in self._commands:
            self._tcl.call("::opensees::define_with_body" if name in WITH_BODY else "::opensees::define", name)
        for name in ("recv", "exit", "unknown"):
            self._tcl.call(f"::opensees::make_{name}")

    def _collect_commands(self, ops: ModuleType) -> dict[str, Callable[..., Any]]:
        names = [name for name in dir(ops) if not name.startswith("_") and name not in NOT_COMMANDS]
        plain = {name: _take_words(getattr(ops, name)) for name in names if callable(getattr(ops, name))}
        return plain | Dialect(ops, self._tcl.splitlist).commands()

    def _call(self, name: str, *words: str) -> tuple[str, Any]:
        """Run an OpenSees command. Errors are returned, because Tcl's ``catch`` would not see the text of an exception."""
        try:
            return "ok", _as_tcl(self._commands[name](*words))
        except Exception as error:
            text = str(error)
            if text == "See stderr output":
                text = "the command failed; OpenSees printed the reason above"
            return "error", f"{name}: {text}"

    def _note_exit(self, code: str) -> str:
        self._exit_code = int(code) & 0xFF
        return ""

    def run_script(self, script: Path, arguments: Sequence[str]) -> ScriptEnd:
        """Source ``script`` with ``argv0``, ``argc`` and ``argv`` as tclsh sets them."""
        for name, value in (("argv0", str(script)), ("argc", str(len(arguments))), ("tcl_interactive", "0")):
            self._tcl.setvar(name, value)
        self._tcl.setvar("argv", self._tcl.call("list", *arguments) if arguments else "")
        try:
            self._tcl.call("source", "-encoding", "utf-8", str(script))
        except _tkinter.TclError as error:
            if self._exit_code is None:
                return ScriptEnd(exit_code=1, error=self._trace() or str(error))
        return ScriptEnd(exit_code=self._exit_code or 0)

    def _trace(self) -> str:
        try:
            return str(self._tcl.getvar("errorInfo"))
        except _tkinter.TclError:
            return ""

    def flush(self) -> None:
        """Flush output without a final newline, and files that the script has not closed."""
        self._tcl.call("::opensees::flush_all")


def _take_words(command: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *words: command(*parse_words(words))


def _as_tcl(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return tuple(_as_tcl(item) for item in value)
    return value
