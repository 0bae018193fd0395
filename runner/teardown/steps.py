"""Undo steps. An undo is registered before its act, is idempotent, and runs whatever happened since.

Undos run newest first. The first error is what the caller sees; an undo that fails is a note on it, and never hides
it. While undos run, interrupts are deferred: they are reported and do not stop the cleanup; the second signal
makes it faster.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from runner.model.events import CleanupStarted, Listener, UndoFailed
from runner.system.signals import handled_signals, heeded_signals


class Interrupted(KeyboardInterrupt):
    """The command was ended by a signal. Exit code 128 + its number, as shells have it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


@dataclass(frozen=True, kw_only=True)
class _Undo:
    """An act at the end of the steps. ``description`` is for people only."""

    description: str
    run: Callable[[], object]


class Steps:
    """A context manager that collects undos and runs them at its end, newest first.

    ``hurry`` is set by a second signal: undos that can be quicker look at it, and results are no longer waited for.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._undos: list[_Undo] = []
        self.hurry = threading.Event()

    def undo(self, description: str, action: Callable[[], object]) -> None:
        """Register ``action``; call this before the act that it undoes."""
        self._undos.append(_Undo(description=description, run=action))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures: list[Exception] = []
        with deferred_signals(self._listener, self.hurry, is_second=isinstance(error, KeyboardInterrupt)):
            if error is not None and self._undos:
                self._listener.report(CleanupStarted(reason=str(error) or type(error).__name__))
            for undo in reversed(self._undos):
                failure = self._run(undo)
                if failure is not None:
                    failures.append(failure)
        if error is None and failures:
            first, *others = failures
            for other in others:
                first.add_note(str(other))
            raise first
        for failure in failures:
            if error is not None:
                error.add_note(str(failure))

    def _run(self, undo: _Undo) -> Exception | None:
        try:
            undo.run()
        except Exception as failure:
            self._listener.report(UndoFailed(what=undo.description, message=str(failure)))
            failure.add_note(f"while trying to {undo.description}")
            return failure
        return None


@contextmanager
def raised_signals() -> Iterator[None]:
    """Make SIGINT, SIGTERM and SIGHUP inside raise ``Interrupted`` in the main thread, so that every ``finally`` runs."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    with handled_signals(heeded_signals(), interrupt):
        yield


@contextmanager
def deferred_signals(listener: Listener, hurry: threading.Event, *, is_second: bool = False) -> Iterator[None]:
    """Keep the same signals inside from stopping the cleanup. The second one sets ``hurry``, which makes it faster.

    ``is_second``: the first one came before.
    """
    received = 1 if is_second else 0

    def warn(signum: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received == 1:
            what = "already cleaning up; send it again to hurry"
        else:
            hurry.set()
            what = "cleaning up faster; VMs are still deleted"
        listener.warn(f"{signal.Signals(signum).name}: {what}")

    with handled_signals(heeded_signals(), warn):
        yield
