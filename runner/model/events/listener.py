"""The listener: it receives the events of a command, and prints, draws or ignores them; commands never print."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runner.model.events.command import Warned
from runner.model.events.event import Event

_log = logging.getLogger("runner.model.events")


def _ignore_event(event: Event) -> None:
    return None


def _ignore_line(name: str, line: str) -> None:
    return None


def _refuse(question: str) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Receives events, log lines and questions. Calls come from several threads, one at a time for each kind.

    ``on_progress`` gets an ``Event``; ``on_log`` a line that a job or a script printed, with its name; ``on_confirm`` a question
    and returns whether to continue.

    Commands call ``report``, ``warn`` and ``log``: what ``on_progress`` and ``on_log`` raise becomes a warning, and ends nothing.
    In particular, it does not keep VMs from being deleted.
    """

    on_progress: Callable[[Event], None] = _ignore_event
    on_log: Callable[[str, str], None] = _ignore_line
    on_confirm: Callable[[str], bool] = _refuse

    def report(self, event: Event) -> None:
        """Report an event. Each is logged too: together they show what a command decided and encountered."""
        _log.info("%s: %s", event.kind, ", ".join(f"{key}={value!r}" for key, value in event.as_json().items()))
        with _survived(event.kind):
            self.on_progress(event)

    def warn(self, message: str) -> None:
        """Report a warning for people. For programs there are other events."""
        self.report(Warned(message=message))

    def log(self, name: str, line: str) -> None:
        """Report a line that a job or a script printed."""
        _log.debug("%s │ %s", name, line)
        with _survived("log"):
            self.on_log(name, line)


@contextmanager
def _survived(what: str) -> Iterator[None]:
    """Turn what a listener raises inside into a warning of Python's."""
    try:
        yield
    except Exception as error:
        warnings.warn(f"a listener failed at {what}: {error!r}", RuntimeWarning, stacklevel=4)
