"""Who hears the events of a command. A listener prints, draws or ignores; commands never print."""

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
    """Who hears of what happens. Calls come from several threads, one at a time for each kind.

    ``on_progress`` gets an ``Event``; ``on_log`` a line that a job or a script printed, with its name; ``on_confirm`` a question
    and answers whether to go on.

    Commands call ``report``, ``warn`` and ``log``: what ``on_progress`` and ``on_log`` raise is a warning, and ends nothing.
    Above all it keeps no VM from being deleted.
    """

    on_progress: Callable[[Event], None] = _ignore_event
    on_log: Callable[[str, str], None] = _ignore_line
    on_confirm: Callable[[str], bool] = _refuse

    def report(self, event: Event) -> None:
        """Report an event. The log has each: together they are what a command decided and met."""
        _log.info("%s: %s", event.kind, ", ".join(f"{key}={value!r}" for key, value in event.as_json().items()))
        with _survived(event.kind):
            self.on_progress(event)

    def warn(self, message: str) -> None:
        """Report a warning for people. What a program needs to know has an event of its own."""
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
