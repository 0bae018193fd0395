"""What commands look like as JSON, one object a line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from runner.batch import RunSummary
from runner.commands.cleanup import CleanupSummary
from runner.model.events import CommandFailed, Event, Listener

if TYPE_CHECKING:
    from runner.drill.program import DrillSummary


class JsonScreen:
    """A listener's callbacks that print one JSON object a line."""

    def __init__(self, *, yes: bool, ask: Callable[[str], bool]) -> None:
        self._yes = yes
        self._ask = ask
        self._lock = threading.RLock()  # a signal's handler prints, too

    def listener(self) -> Listener:
        """Return the callbacks."""
        return Listener(
            on_progress=self.show_event,
            on_log=lambda name, line: self.write("log", {"job": name, "line": line}),
            on_confirm=lambda question: self._yes or self._ask(question),
        )

    def show_event(self, event: Event) -> None:
        """Write the event's own JSON form."""
        self.write(event.kind, event.as_json())

    def show_error(self, error: CommandFailed) -> None:
        """Write an error as an event."""
        self.show_event(error)

    def show_summary(self, summary: RunSummary) -> None:
        """Write the last line."""
        self.write("summary", summary.as_json())

    def show_cleanup(self, summary: CleanupSummary) -> None:
        """Write the last line."""
        self.write("summary", summary.as_json())

    def show_drill(self, summary: DrillSummary) -> None:
        """Write the last line."""
        self.write("summary", summary.as_json())

    def write(self, event: str, facts: Mapping[str, Any]) -> None:
        """Write one line and flush it, so that a reader sees it immediately."""
        with self._lock:
            sys.stdout.write(json.dumps({"event": event, **facts}, default=str) + "\n")
            sys.stdout.flush()
