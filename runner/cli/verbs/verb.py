"""What every verb has: a log, a screen, and an end that is a sentence with an exit code."""

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
from runner.cli.console import JsonScreen, TextScreen
from runner.cli.ending import tell_end, tell_lost_output, threads_told
from runner.cli.output import drain_output, patient_output
from runner.options.options import Options

if TYPE_CHECKING:
    from runner.context import Context

Screen = TextScreen | JsonScreen
Asked = TypeVar("Asked", bound=Options)


def verb(function: Callable[[Asked], int]) -> Callable[[Asked], int]:
    """Let what a verb raises end as a sentence with its exit code, on the screen that the verb uses. Whoever reads holds nothing up.

    Every verb has a log; with ``--debug`` a finer one, on standard error too.
    """

    @functools.wraps(function)
    def call(options: Asked) -> int:
        faulthandler.register(signal.SIGUSR1)  # kill -USR1 has a command that stands still say where, on standard error
        given = {key: value for key, value in vars(options).items() if key != "debug"}
        session = str(given.get("batch") or given.get("bake") or "")
        with patient_output(), threads_told():
            screen = new_screen(as_json=bool(given.get("json")), yes=False)
            try:
                with wiring.command_log(os.environ, options.verb, given, session=session, debug=options.debug):
                    try:
                        return tell_lost_output(options.verb, function(options))
                    except (Exception, KeyboardInterrupt) as error:
                        return tell_end(screen, error)
            except (Exception, KeyboardInterrupt) as error:  # before there is a log, or after it
                return tell_end(screen, error)

    return call


def ask(question: str) -> bool:
    """Ask a person; where there is none, the answer is no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write(f"{question} Not a terminal: give --yes to agree.\n")
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
    """Return a screen for people, to whom no question is answered with yes beforehand."""
    return TextScreen(yes=False, ask=ask)


def tell_dead_sessions(
    context: Context, screen: Screen | None, *, but: str = "", may_clean: bool = True
) -> list[dict[str, Any]]:
    """At the start of a command that reaches the cloud: batches that nobody looks after, with what they cost; dead bakes are
    cleaned up. As JSON values too, for a command that prints one object: it has no screen for them.
    """
    from runner.model.events import Listener
    from runner.recovery import report_dead_sessions

    heard = context.with_listener(Listener() if screen is None else screen.listener())
    found = report_dead_sessions(heard, besides=[but] if but else [], may_clean=may_clean)
    return [item.as_json() for item in found]


def write(text: str) -> None:
    """Print a line, or several."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_exports(variables: Mapping[str, str]) -> None:
    """Print variables as a shell reads them."""
    for key, value in variables.items():
        write(f"export {key}={shlex.quote(value)}")
