"""How a command ends: what it raised as a sentence with its exit code. No traceback reaches a user; a report of it a file does."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.cli.console import JsonScreen, TextScreen
from runner.cli.output import find_lost_output
from runner.errors import INTERRUPTED_EXIT_CODE, CrashError, DiskError, HpcError, MissingToolError
from runner.teardown import Interrupted
from runner.wiring.logs import CommandLog, current_log

WITHOUT_READERS = frozenset({"run", "attach", "build", "drill"})  # what they do counts, and not what they say of it
OWN_PACKAGES = ("runner", "infra", "packer", "tests")

_log = logging.getLogger(__name__)


def tell_end(screen: TextScreen | JsonScreen, error: Exception | KeyboardInterrupt) -> int:
    """Say what ended a command; its exit code."""
    if isinstance(error, KeyboardInterrupt):
        return _tell_interrupt(error)
    log = current_log()
    told = error if isinstance(error, HpcError) else _explain(error, log)
    _log_error(f"ended by {type(error).__name__}: {error}", error)
    screen.show_error(told, log=None if log is None else log.path)
    return told.exit_code


def tell_lost_output(verb: str, code: int) -> int:
    """The exit code of a command: not 0 if its output is its result and a disk could not take it, which is told on standard error."""
    loss = find_lost_output() if code == 0 and verb not in WITHOUT_READERS else None
    if loss is None:
        return code
    error = DiskError(f"standard output cannot be written: {loss.strerror}", remedy="let it go where there is room")
    return tell_end(TextScreen(yes=False, ask=lambda question: False), error)


@contextmanager
def threads_told() -> Iterator[None]:
    """Inside, an error that ends a thread, or that nobody can take, is in the log; on the terminal it is a line."""
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = _tell_thread, _tell_unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _tell_interrupt(error: KeyboardInterrupt) -> int:
    _log.info("ended by %s", str(error) or "Ctrl-C")
    if not isinstance(error, Interrupted):
        return INTERRUPTED_EXIT_CODE
    sys.stderr.write(f"ended by {error}\n")
    sys.stderr.writelines(f"  {note}\n" for note in getattr(error, "__notes__", []))
    return error.exit_code


def _explain(error: Exception, log: CommandLog | None) -> HpcError:
    """An error that nobody thought of, as one of ours, with a report of it in a file."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in OWN_PACKAGES:
        return MissingToolError(
            f"the Python package {error.name} is missing",
            remedy="start commands as `./bootstrap invoke …`, which provides it",
        )
    report = None if log is None else log.report_crash(error)
    what = _in_a_line(error) if log is None else log.hide_secrets(_in_a_line(error))
    crash = CrashError(f"a fault in opensees-hpc itself: {what}", report=report, remedy=_remedy(report))
    for note in getattr(error, "__notes__", []):
        crash.add_note(note)
    return crash


def _remedy(report: Path | None) -> str:
    where = (
        "no report of it could be written"
        if report is None
        else f"the report is {report}; send it to whoever maintains this"
    )
    return f"{where}; `invoke status` says whether anything still runs"


def _in_a_line(error: BaseException) -> str:
    return " ".join(traceback.format_exception_only(error)[-1].split())


def _tell_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    name = args.thread.name if args.thread else "a thread"
    _log_error(f"the thread {name} ended", args.exc_value)
    sys.stderr.write(f"warning: {name} ended: {_in_a_line(args.exc_value)}{_see_log()}\n")


def _tell_unraisable(args: Any) -> None:
    _log_error(f"{args.err_msg or 'an error that nobody can take'}: {args.object!r}", args.exc_value)


def _log_error(what: str, error: BaseException | None) -> None:
    if current_log() is not None:  # without one, Python's own logging would print the traceback
        _log.error("%s", what, exc_info=error)


def _see_log() -> str:
    log = current_log()
    return "" if log is None or log.path is None else f" (log: {log.path})"
