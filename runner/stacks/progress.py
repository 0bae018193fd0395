"""The engine's progress as events."""

from __future__ import annotations

from collections.abc import Callable

from runner.model.events import Listener, ResourceChanged
from runner.stacks.contract import StackProgress


def report_stack_progress(listener: Listener, stack: str) -> Callable[[StackProgress], None]:
    """Return a callback for ``stacks.contract`` that reports what the engine does to ``stack``."""

    def report(progress: StackProgress) -> None:
        listener.report(
            ResourceChanged(
                stack=stack,
                type=progress.type,
                name=progress.name,
                op=progress.op,
                state=progress.state,
                seconds=round(progress.seconds, 3),
                message=progress.message,
            )
        )

    return report
