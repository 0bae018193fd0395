"""Signals around work that must not be left half done: raised where they would end the process, deferred while it is undone.

Handlers that are already set (a command's own) are left alone: they raise already.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)
INTERRUPTING = (signal.SIGINT, *ENDING)


@contextmanager
def ending_signals_raised() -> Iterator[None]:
    """Inside, a SIGTERM or SIGHUP that would kill the process raises SystemExit(128 + its number), so that undos run."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    with handled_signals([signum for signum in ENDING if signal.getsignal(signum) == signal.SIG_DFL], leave):
        yield


@contextmanager
def signals_put_off(report: Callable[[str], None]) -> Iterator[None]:
    """Inside, interrupting signals are only reported, so that the clean-up is finished first."""

    def wait(signum: int, frame: FrameType | None) -> None:
        report(f"{signal.Signals(signum).name}: still cleaning up, please wait")

    with handled_signals(heeded_signals(), wait):
        yield


def heeded_signals() -> list[signal.Signals]:
    """Return the interrupting signals that this process does not ignore; under nohup it ignores SIGHUP."""
    return [signum for signum in INTERRUPTING if signal.getsignal(signum) != signal.SIG_IGN]


@contextmanager
def handled_signals(
    signals: Collection[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Inside, ``handler`` gets these signals; the previous handlers are restored afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it is interrupted
        return
    before = {signum: signal.signal(signum, handler) for signum in signals}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
