"""Pulumi stacks as values: what a stack shall be, what the engine does to it, what came out. Light to import.

The stacks are the ones that plain ``pulumi`` shows in ``infra/base``, ``infra/image`` and ``infra/analysis``. How the
engine is driven is in ``stacks.pulumi``; nothing here knows which cloud it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

ProjectName = Literal["base", "image", "analysis"]


@dataclass(frozen=True, kw_only=True)
class StackSpec:
    """A stack and its settings. ``config``: full keys (``opensees-hpc:owner``, ``gcp:project``); lists and maps as JSON."""

    project: ProjectName
    name: str
    config: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StackProgress:
    """The engine began or ended something with one resource.

    ``type`` is Pulumi's (``gcp:compute/instance:Instance``), ``op`` the engine's word (``create``, ``update``, ``delete``,
    ``refresh``, ``create-replacement``, …; ``retain``: it is left, but no longer the stack's) or ``unlock``: a lock on the stack was removed, ``seconds`` how long it took
    (0 when it starts), ``message`` why it failed, or whose lock it was.
    """

    type: str
    name: str
    op: str
    state: Literal["started", "done", "failed"]
    seconds: float = 0.0
    message: str = ""


OnProgress = Callable[[StackProgress], None]


@dataclass(frozen=True, kw_only=True)
class EngineLimit:
    """An engine that runs longer than ``limit_s``, or still runs when ``hurry`` is set, is ended: its call raises StackError."""

    limit_s: float
    hurry: threading.Event = field(default_factory=threading.Event)


class Stacks(Protocol):
    """Pulumi stacks by project and name. Calls for different stacks may come from several threads at once.

    Callbacks come from another thread. An exception in the calling thread (Ctrl-C too) waits until the engine has finished,
    a minute at most, so that all that it makes is in the state; a second Ctrl-C cancels it as ``interrupt`` does. Either
    way the stack can be destroyed. A lock that a dead process left is removed, on a batch's stack also another machine's that is an hour old; one that a
    living process holds is waited for a little. Nothing here is retried: the engine's provider does that.

    Raises (all): StackError, or where the engine's words leave no doubt QuotaError, StockoutError, PermissionDeniedError,
    ConflictError or UnreachableError, caused by a StackError with the diagnostics; MissingToolError without a CLI.
    """

    def up(self, spec: StackSpec, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> Mapping[str, object]:
        """Make the stack as it shall be, and return its outputs. A stack that was there is refreshed first.

        After an error all those exist that could be created: they are in the stack's state, and ``destroy`` removes them.
        """

    def destroy(
        self, project: ProjectName, name: str, on_progress: OnProgress, *, limit: EngineLimit | None = None
    ) -> None:
        """Delete everything in the stack, what is gone already included. Nothing to do if there is no such stack.

        After an error only that is left which could not be deleted, and what it needs.
        """

    def remove(self, project: ProjectName, name: str, *, force: bool = False) -> None:
        """Forget a stack and its settings. Nothing to do if there is no such stack; StackError if it is not empty.

        ``force``: forget it with what it believes to be there, which the caller has seen to be gone.
        """

    def outputs(self, project: ProjectName, name: str) -> Mapping[str, object] | None:
        """What the last ``up`` exported, read from the state; None if there is no such stack."""

    def names(self, project: ProjectName) -> list[str]:
        """The stacks of a project, sorted."""

    def interrupt(self) -> None:
        """Make every engine that runs now cancel, for use by other threads and at a second Ctrl-C: their calls raise StackError.

        What was being made at this moment may exist without being in a state: look for it by its labels.
        """

    def kill(self) -> None:
        """End every engine that runs now, with its plugins, after a short moment to cancel: for one that does not come to its end."""
