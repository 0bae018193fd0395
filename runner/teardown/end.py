"""The end of a batch or a bake: destroy its stack, then ask the cloud itself whether anything with its label is left.

No fault of Pulumi stands in the way: what the engine cannot do, or not in time, the sweep does; and when the
cloud says that everything is gone, the stack is removed, by force if necessary.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from runner.context import Context
from runner.errors import HpcError, StackError
from runner.inventory import Removal, leftover_error, sweep
from runner.model import names
from runner.model.events import ItemSwept
from runner.model.leftover import ANY_OWNER, BILLED, Item, Kind, Scope
from runner.model.stockout import is_of_gone_vms
from runner.stacks import EngineLimit, ProjectName, report_stack_progress

DESTROY_LIMIT_S = 10 * 60.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How it ended. ``removals``: what the sweep still had to do. ``failure``: what the engine said if it failed, else ''.

    ``finish``: the command that finishes the work where a stack could not be forgotten, else ''.
    """

    removals: tuple[Removal, ...] = ()
    failure: str = ""
    finish: str = ""


def end_batch(
    context: Context,
    batch: str,
    *,
    hurry: threading.Event | None = None,
) -> Ending:
    """Cancel, refresh, destroy and remove the batch's stack, then delete what is left of it by label. Idempotent.

    ``hurry``: once it is set, the engine is no longer waited for.

    Raises:
        LeftoverError: something billable is still there, or may be; its ``items`` say what.
    """
    limit = EngineLimit(limit_s=DESTROY_LIMIT_S, hurry=hurry or threading.Event())
    scope = Scope(
        now=context.now(), owner=ANY_OWNER, batch=batch
    )  # the holder of its lease may end it, also if another user began it
    return _end(_Stack(project="analysis", name=batch), scope, limit, context)


def end_bake(
    context: Context,
    bake: str,
    *,
    hurry: threading.Event | None = None,
) -> Ending:
    """Do the same for a bake: its builder and what belongs to it; a validated image stays."""
    limit = EngineLimit(limit_s=DESTROY_LIMIT_S, hurry=hurry or threading.Event())
    scope = Scope(now=context.now(), owner=context.settings.owner, bake=bake)
    return _end(_Stack(project="image", name=bake), scope, limit, context)


@dataclass(frozen=True, kw_only=True)
class _Stack:
    project: ProjectName
    name: str

    @property
    def title(self) -> str:
        return f"{'batch' if self.project == 'analysis' else 'bake'} {self.name}"

    @property
    def item(self) -> Item:
        return Item(kind=Kind.STACK, name=self.name, location=self.project, labels={"app": names.APP})


def _end(stack: _Stack, scope: Scope, limit: EngineLimit, context: Context) -> Ending:
    with context.phases.phase("destroy"):
        failure = _destroy(context, stack, limit)
    kinds = (*BILLED, Kind.IMAGE) if scope.bake else BILLED
    with context.phases.phase("check"):
        report = sweep(
            context.cloud.inventory, scope, kinds=kinds, report=lambda removal: report_removal(context, removal)
        )
    if not report.is_clean:
        raise leftover_error(stack.title, report, remedy=f"invoke cleanup {_option(stack)} --yes") from failure
    finish = "" if failure is None else _forget(context, stack)
    return Ending(removals=report.removals, failure="" if failure is None else str(failure), finish=finish)


def _destroy(context: Context, stack: _Stack, limit: EngineLimit) -> HpcError | None:
    """Destroy and remove the stack; return the error if the engine could not, else None."""
    try:
        if limit.hurry.is_set():
            raise StackError("no time to destroy the stack")
        context.cloud.stacks.destroy(
            stack.project, stack.name, report_stack_progress(context.listener, stack.name), limit=limit
        )
        context.cloud.stacks.remove(stack.project, stack.name)
    except HpcError as error:
        if not is_of_gone_vms(
            error, is_gone=lambda name: True
        ):  # such as a spot VM that vanished before it was deleted
            context.warn(f"pulumi destroy failed, deleting by label: {error}")
        return error
    return None


def _forget(context: Context, stack: _Stack) -> str:
    """Remove a stack that has no resources left; return the command that does it by hand if that fails."""
    try:
        context.cloud.inventory.remove(stack.item)
    except HpcError as error:
        context.warn(
            f"nothing of {stack.title} is left in the cloud, but its stack could not be removed: {error}\n"
            f"to finish: {error.remedy}",
        )
        return error.remedy
    return ""


def report_removal(context: Context, removal: Removal) -> None:
    """Report what became of one item."""
    state: Literal["deleted", "failed"] = "deleted" if removal.is_gone else "failed"
    context.listener.report(ItemSwept(what=str(removal.item), state=state, message=removal.answer))


def _option(stack: _Stack) -> str:
    return f"--{'batch' if stack.project == 'analysis' else 'bake'} {stack.name}"
