"""Pulumi stacks as values: the desired state of a stack, the engine's progress, the outputs. Light to import.

The stacks are the ones that plain ``pulumi`` shows in ``infra/base``, ``infra/image`` and ``infra/analysis``. How the
engine is run is in ``stacks.pulumi``; nothing here knows which cloud it is.
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
    """The engine began or ended an operation on one resource.

    ``type`` is Pulumi's (``gcp:compute/instance:Instance``), ``op`` the engine's word (``create``, ``update``, ``delete``,
    ``refresh``, ``create-replacement``, …; ``retain``: the resource stays, but no longer belongs to the stack) or ``unlock``: a lock on the stack was removed, ``seconds`` how long it took
    (0 when it starts), ``message`` why it failed, or who held the lock.
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
    a minute at most, so that everything that it creates is in the state; a second Ctrl-C cancels it as ``interrupt`` does. Either
    way the stack can be destroyed. A lock of a dead process is removed, on a batch's stack also another computer's that is an hour old; the lock of
    a living process is waited for, but not long. Nothing here is retried: the engine's provider does that.

    Raises (all): StackError, or, where the engine's message is unambiguous, QuotaError, StockoutError, PermissionDeniedError,
    ConflictError or UnreachableError, caused by a StackError with the diagnostics; MissingToolError without a CLI.
    """

    def up(self, spec: StackSpec, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> Mapping[str, object]:
        """Bring the stack to its desired state, and return its outputs. An existing stack is refreshed first.

        After an error all resources exist that could be created: they are in the stack's state, and ``destroy`` deletes them.
        """

    def destroy(
        self, project: ProjectName, name: str, on_progress: OnProgress, *, limit: EngineLimit | None = None
    ) -> None:
        """Delete all resources of the stack, including those that no longer exist. Does nothing if there is no such stack.

        After an error only the resources that could not be deleted are left, and those that they depend on.
        """

    def remove(self, project: ProjectName, name: str, *, force: bool = False) -> None:
        """Remove a stack and its settings. Does nothing if there is no such stack; StackError if it is not empty.

        ``force``: remove it with the resources in its state, whose deletion the caller has confirmed.
        """

    def outputs(self, project: ProjectName, name: str) -> Mapping[str, object] | None:
        """Return what the last ``up`` exported, read from the state; None if there is no such stack."""

    def names(self, project: ProjectName) -> list[str]:
        """Return the stacks of a project, sorted."""

    def interrupt(self) -> None:
        """Cancel every running engine, for use by other threads and at a second Ctrl-C: their calls raise StackError.

        A resource that was being created at this moment may exist without being in a state: look for it by its labels.
        """

    def kill(self) -> None:
        """Kill every running engine, with its plugins, after a short time to cancel: for one that hangs."""
