"""Converts the engine's event stream to progress, complaints and outputs. No processes, no files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runner.stacks.contract import StackProgress
from runner.stacks.errors import Complaint, clean_text
from runner.stacks.locks import StackLock

if TYPE_CHECKING:
    from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata

_log = logging.getLogger(__name__)

STACK_TYPE = "pulumi:pulumi:Stack"
SILENT_OPS = frozenset({"same"})


class EngineRun:
    """Reads the events of one run of the engine. ``see`` is called from the stream's thread, all other methods after the run."""

    def __init__(self, on_progress: Callable[[StackProgress], None]) -> None:
        self._on_progress = on_progress
        self._started: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self.complaints: list[Complaint] = []
        self.outputs: dict[str, Any] = {}
        self.listener_error: Exception | None = None

    def see(self, event: EngineEvent) -> None:
        """Take the next event."""
        if event.diagnostic_event:
            self._see_diagnostic(event.diagnostic_event)
        elif event.resource_pre_event:
            self._see_start(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            self._see_end(event.res_outputs_event.metadata)
        elif event.res_op_failed_event:
            self._report(event.res_op_failed_event.metadata, "failed")

    def report_removed_lock(self, stack: str, lock: StackLock) -> None:
        """Report that an abandoned lock was removed: the engine has no event for that, but the user should know."""
        message = f"removed a lock that was left by {lock}"
        self._call(StackProgress(type=STACK_TYPE, name=stack, op="unlock", state="done", message=message))

    def _see_diagnostic(self, event: DiagnosticEvent) -> None:
        text = clean_text(event.message)
        _log.log(logging.DEBUG if event.severity == "debug" else logging.INFO, "%s: %s", event.severity, text)
        if event.severity != "error":
            return
        self.complaints.append(Complaint(text=text, resource=_name_in(event.urn or "")))
        if event.urn:
            self._said[event.urn] = text

    def _see_start(self, step: StepEventMetadata) -> None:
        self._started[step.urn] = time.monotonic()
        self._report(step, "started")

    def _see_end(self, step: StepEventMetadata) -> None:
        if step.type == STACK_TYPE and step.new and step.new.outputs is not None:
            self.outputs = dict(step.new.outputs)
        self._report(step, "done")

    def _report(self, step: StepEventMetadata, state: Any) -> None:
        """Report a step, unless it changes nothing or is the engine's own book-keeping."""
        op = _op(step)
        if op in SILENT_OPS or step.type == STACK_TYPE or step.type.startswith("pulumi:providers:"):
            return
        began = self._started.get(step.urn)
        progress = StackProgress(
            type=step.type,
            name=_name_in(step.urn),
            op=op,
            state=state,
            seconds=0.0 if state == "started" or began is None else time.monotonic() - began,
            message=self._said.get(step.urn, "") if state == "failed" else "",
        )
        self._call(progress)

    def _call(self, progress: StackProgress) -> None:
        """Call the listener. If it fails, the stream must continue: its first error is kept for the end."""
        try:
            self._on_progress(progress)
        except Exception as error:
            self.listener_error = self.listener_error or error


def _name_in(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


def _op(step: StepEventMetadata) -> str:
    """Return the engine's word, but ``retain`` for a resource that it releases without deleting it: the engine says ``delete`` for that too."""
    op = _text(step.op)
    return "retain" if op == "delete" and step.old and step.old.retain_on_delete else op


def _text(op: Any) -> str:
    return str(getattr(op, "value", op))
