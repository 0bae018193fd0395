"""What every verb has: a log, a screen, and an error that becomes a message and an exit code."""

from __future__ import annotations

import faulthandler
import functools
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from runner import wiring
from runner.cli.ending import report_end, report_lost_output, thread_errors_reported
from runner.cli.json_screen import JsonScreen
from runner.cli.output import drain_output, queued_output
from runner.cli.text_screen import TextScreen
from runner.options.options import Options

if TYPE_CHECKING:
    from runner.context import Context

Screen = TextScreen | JsonScreen
Asked = TypeVar("Asked", bound=Options)


def verb(function: Callable[[Asked], int]) -> Callable[[Asked], int]:
    """Turn an exception of a verb into a message on its screen and an exit code. A slow reader of the output does not delay the verb.

    Every verb has a log, which is more detailed with ``--debug`` and goes to standard error too.
    """

    @functools.wraps(function)
    def call(options: Asked) -> int:
        faulthandler.register(signal.SIGUSR1)  # kill -USR1 shows on standard error where a command hangs
        given = {key: value for key, value in vars(options).items() if key != "debug"}
        batch = str(given.get("batch") or given.get("bake") or "")
        with queued_output(), thread_errors_reported():
            screen = new_screen(as_json=bool(given.get("json")), yes=False)
            try:
                with wiring.command_log(os.environ, options.verb, given, batch=batch, debug=options.debug):
                    try:
                        return report_lost_output(options.verb, function(options))
                    except (Exception, KeyboardInterrupt) as error:
                        return report_end(screen, error)
            except (Exception, KeyboardInterrupt) as error:  # before there is a log, or after it
                return report_end(screen, error)

    return call


def ask(question: str) -> bool:
    """Ask at the terminal. Without a terminal the answer is no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write(f"{question} This is not a terminal: give --yes to agree.\n")
        return False
    drain_output()
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def new_screen(*, as_json: bool, yes: bool) -> Screen:
    """Return the screen of a command that prints events."""
    kind = JsonScreen if as_json else TextScreen
    return kind(yes=yes, ask=ask)


def new_text_screen() -> TextScreen:
    """Return a text screen that asks every question."""
    return TextScreen(yes=False, ask=ask)


def report_abandoned(
    context: Context, screen: Screen | None, *, but: str = "", may_clean: bool = True
) -> list[dict[str, Any]]:
    """Report abandoned batches with their cost, and clean up abandoned bakes, before a command does its own work in the cloud.

    Return them as JSON values, for commands that print one object and have no ``screen``.
    """
    from runner.model.events import Listener
    from runner.recovery import report_abandoned_batches

    listener = Listener() if screen is None else screen.listener()
    found = report_abandoned_batches(context.with_listener(listener), besides=[but] if but else [], may_clean=may_clean)
    return [item.as_json() for item in found]


def write(text: str) -> None:
    """Print a line, or several."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_exports(variables: Mapping[str, str]) -> None:
    """Print variables as a shell reads them."""
    for key, value in variables.items():
        write(f"export {key}={shlex.quote(value)}")
