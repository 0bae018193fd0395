"""What a command tells while it works. A listener prints, draws or ignores; commands never print.

``on_progress`` gets an ``Event``; ``on_log`` a line that a job or a script printed, with its name; ``on_confirm`` a question
and answers whether to go on.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened: a word for its kind and the facts, all of them JSON values."""

    event: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def _ignore_event(event: Event) -> None:
    return None


def _ignore_line(name: str, line: str) -> None:
    return None


def _refuse(question: str) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who is told. Calls come from several threads, one at a time for each kind.

    Commands call ``tell`` and ``log``: what ``on_progress`` and ``on_log`` raise is a warning, and ends nothing. Above all it
    keeps no VM from being deleted.
    """

    on_progress: Callable[[Event], None] = _ignore_event
    on_log: Callable[[str, str], None] = _ignore_line
    on_confirm: Callable[[str], bool] = _refuse

    def tell(self, event: str, **facts: Any) -> None:
        """Tell an event. The log has each: together they are what a command decided and met."""
        _log.info("%s: %s", event, ", ".join(f"{key}={value!r}" for key, value in facts.items()))
        with _told(event):
            self.on_progress(Event(event=event, facts=facts))

    def log(self, name: str, line: str) -> None:
        """Tell a line that a job or a script printed."""
        _log.debug("%s │ %s", name, line)
        with _told("log"):
            self.on_log(name, line)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        warnings.warn(f"a listener failed at {what}: {error!r}", RuntimeWarning, stacklevel=4)


class Phases:
    """How long each phase of a command took, in s. Phases may overlap; a phase that comes again adds up.

    ``parts``: of a phase that several things go through at once, such as VMs that boot, each by its name.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self.seconds: dict[str, float] = {}
        self.parts: dict[str, dict[str, float]] = {}

    @contextmanager
    def phase(self, name: str, of: str = "") -> Iterator[None]:
        """Time what is inside, telling its begin and end. ``of``: which of several things goes through this phase."""
        which = {"phase": name, "of": of} if of else {"phase": name}
        self._listener.tell("phase", **which, state="started")
        begun = time.monotonic()
        state = "failed"
        try:
            yield
            state = "done"
        finally:
            took = time.monotonic() - begun
            with self._lock:
                times, key = (self.parts.setdefault(name, {}), of) if of else (self.seconds, name)
                times[key] = round(times.get(key, 0.0) + took, 3)
            self._listener.tell("phase", **which, state=state, seconds=round(took, 3))
