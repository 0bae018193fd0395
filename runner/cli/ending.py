"""How a command ends: an error becomes a message and an exit code. Users see no traceback; a report file has it."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.cli.json_screen import JsonScreen
from runner.cli.output import find_lost_output
from runner.cli.text_screen import TextScreen
from runner.errors import INTERRUPTED_EXIT_CODE, CrashError, DiskError, HpcError, MissingToolError
from runner.model.events import CommandFailed
from runner.teardown import Interrupted
from runner.wiring.logs import CommandLog, current_log

OUTPUT_IS_SECONDARY = frozenset({"run", "attach", "build", "drill"})  # what matters is their work, not their output
OWN_PACKAGES = ("runner", "infra", "packer", "tests")

_log = logging.getLogger(__name__)


def report_end(screen: TextScreen | JsonScreen, error: Exception | KeyboardInterrupt) -> int:
    """Report the error that ended a command, and return its exit code."""
    if isinstance(error, KeyboardInterrupt):
        return _report_interrupt(error)
    log = current_log()
    shown = error if isinstance(error, HpcError) else _explain(error, log)
    _log_error(f"ended by {type(error).__name__}: {error}", error)
    screen.show_error(_as_event(shown, log))
    return shown.exit_code


def report_lost_output(verb: str, code: int) -> int:
    """Return the exit code of a command. If its output is its result and could not be written to a disk, report that on standard error."""
    loss = find_lost_output() if code == 0 and verb not in OUTPUT_IS_SECONDARY else None
    if loss is None:
        return code
    error = DiskError(
        f"standard output cannot be written: {loss.strerror}", remedy="write it to a disk with free space"
    )
    return report_end(TextScreen(yes=False, ask=lambda question: False), error)


@contextmanager
def thread_errors_reported() -> Iterator[None]:
    """Log errors that end a thread, or that Python cannot raise, inside the block; the terminal shows those of threads as a line."""
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = _report_thread, _report_unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


def _as_event(error: HpcError, log: CommandLog | None) -> CommandFailed:
    return CommandFailed(
        message=error.message,
        remedy=error.remedy,
        exit_code=error.exit_code,
        notes=tuple(getattr(error, "__notes__", ())),
        log=None if log is None or log.path is None else str(log.path),
    )


def _report_interrupt(error: KeyboardInterrupt) -> int:
    _log.info("ended by %s", str(error) or "Ctrl-C")
    if not isinstance(error, Interrupted):
        return INTERRUPTED_EXIT_CODE
    sys.stderr.write(f"ended by {error}\n")
    sys.stderr.writelines(f"  {note}\n" for note in getattr(error, "__notes__", []))
    return error.exit_code


def _explain(error: Exception, log: CommandLog | None) -> HpcError:
    """Return an unexpected error as one of ours, and write a report of it to a file."""
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
    where = "no report could be written" if report is None else f"the report is {report}; send it to the maintainers"
    return f"{where}; `invoke status` shows whether anything is still running"


def _in_a_line(error: BaseException) -> str:
    return " ".join(traceback.format_exception_only(error)[-1].split())


def _report_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or isinstance(args.exc_value, SystemExit):
        return
    name = args.thread.name if args.thread else "a thread"
    _log_error(f"the thread {name} ended", args.exc_value)
    sys.stderr.write(f"warning: {name} ended: {_in_a_line(args.exc_value)}{_see_log()}\n")


def _report_unraisable(args: Any) -> None:
    _log_error(f"{args.err_msg or 'an error that cannot be raised'}: {args.object!r}", args.exc_value)


def _log_error(what: str, error: BaseException | None) -> None:
    if current_log() is not None:  # without one, Python's own logging would print the traceback
        _log.error("%s", what, exc_info=error)


def _see_log() -> str:
    log = current_log()
    return "" if log is None or log.path is None else f" (log: {log.path})"
