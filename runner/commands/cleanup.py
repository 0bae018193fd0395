"""``invoke cleanup``: remove expired resources, or a batch, a bake, everything; the cloud itself is asked what exists.

It needs no journal and no stack; it needs Pulumi only to list and remove the stacks of a state in a bucket. The journals of
what was cleaned up, where they exist, are ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from runner.context import Context
from runner.errors import CloudError, DeclinedError, HpcError, InputError, LeftoverError
from runner.inventory import Agreement, DryInventory, Inventory, Removal, SweepReport, Unread, sweep_agreed
from runner.jobsfile import forget_inputs_of_gone
from runner.model import names
from runner.model.events import ItemFound
from runner.model.leftover import BILLED, Choice, Item, Kind, Scope
from runner.options.batches import Cleanup
from runner.teardown import check_known, clients_gone, find_busy, report_removal

CLEANED_UP = "cleaned up"


@dataclass(frozen=True, kw_only=True)
class CleanupSummary:
    """The outcome of a cleanup. ``kept``: our resources that were not to be touched."""

    report: SweepReport
    kept: tuple[Choice, ...]
    dry_run: bool

    @property
    def stays(self) -> list[str]:
        """What was asked for but stays, each with its reason: a client uses it, it is not the user's, it is new."""
        choices = [*(choice for choice in self.kept if choice.is_spared), *self.report.spared]
        return [
            *(f"{choice.item}: {choice.reason}" for choice in choices),
            *(f"{item}: it appeared after you were asked" for item in self.report.appeared),
        ]

    @property
    def exit_code(self) -> int:
        """8 if anything is left that was asked for, or could not be checked."""
        return LeftoverError.exit_code if self.stays or not self.report.is_clean else 0

    def as_json(self) -> dict[str, Any]:
        """JSON values of the event ``summary``."""
        return {
            "exit_code": self.exit_code,
            "dry_run": self.dry_run,
            "items": [_removal_values(removal, dry_run=self.dry_run) for removal in self.report.removals],
            "kept": [_choice_values(choice) for choice in self.kept],
            "stays": self.stays,
            "left_over": self.report.items_left,
        }


def execute(context: Context, options: Cleanup) -> CleanupSummary:
    """Show what would be deleted, ask, delete it, and check again. Idempotent.

    Raises:
        InputError: the request is contradictory, that batch or bake is unknown, or a living process runs it.
        DeclinedError: the user declined; nothing was removed.
    """
    scope = _read_scope(context, options)
    context.cloud.open(needs_engine=False)
    inventory: Inventory = DryInventory(context.cloud.inventory) if options.dry_run else context.cloud.inventory
    kinds = _kinds(scope)
    found = inventory.find(kinds, scope.labels)
    choices = scope.choose(found.items)
    if not choices and (scope.batch or scope.bake):
        check_known(context, batch=scope.batch, bake=scope.bake)
    _show(context, choices, found.unread)
    taken = tuple(choice.item for choice in choices if choice.is_taken)
    kept = tuple(choice for choice in choices if not choice.is_taken)
    if taken and not (options.dry_run or options.yes) and not context.listener.on_confirm(f"Delete {_count(taken)}?"):
        raise DeclinedError("nothing was deleted", remedy="confirm, or give --yes to skip the question")
    report = SweepReport(removals=(), left=(), unread=found.unread)
    if taken:
        report = sweep_agreed(
            inventory,
            lambda: _look_again(context, scope),
            Agreement(found=found, items=taken),
            kinds=kinds,
            report=lambda removal: _report_removal(context, removal, options),
        )
    if not options.dry_run:
        keys = {item.key for item in taken}
        untouched = [item for item in found.items if item.kind in BILLED and item.key not in keys]
        _end_journals(context, scope, report, untouched)
        with suppress(CloudError):  # what is left on this computer costs nothing
            forget_inputs_of_gone(context)
    return CleanupSummary(report=report, kept=kept, dry_run=options.dry_run)


def _read_scope(context: Context, options: Cleanup) -> Scope:
    given = [name for name in ("batch", "bake", "everything") if getattr(options, name)]
    if len(given) > 1:
        raise InputError(f"--{' and --'.join(given)} exclude each other")
    if options.results and not (options.batch or options.everything):
        raise InputError("--results needs --batch or --everything: it deletes the results of jobs")
    for name in (options.batch, options.bake):
        if name and not names.is_batch_name(name):
            raise InputError(f"{name!r} is not the name of a batch or bake")
    busy = find_busy(context)
    for name in (options.batch, options.bake):
        if name in busy:
            raise InputError(
                f"{name} is being run by {busy[name]}", remedy="end that command: it cleans up after itself"
            )
    return Scope(
        now=context.now(),
        owner=options.owner or context.settings.owner,
        batch=options.batch,
        bake=options.bake,
        everything=options.everything,
        results=options.results,
        busy=busy,
        gone=clients_gone(context) if options.everything else (),
    )


def _look_again(context: Context, scope: Scope) -> Scope:
    """Return the scope as it is now: which batches have a living client by now, and what time it is."""
    return replace(scope, now=context.now(), busy=find_busy(context))


def _kinds(scope: Scope) -> tuple[Kind, ...]:
    """Return the kinds to look at; results only where they count, because that reads the whole bucket."""
    if scope.batch:
        return (*BILLED, Kind.CONTROL, *([Kind.RESULTS] if scope.results else []), Kind.STACK)
    if scope.bake:
        return (*BILLED, Kind.IMAGE, Kind.ACCOUNT, Kind.STACK)
    return tuple(kind for kind in Kind if kind is not Kind.RESULTS or scope.everything)


def _show(context: Context, choices: Iterable[Choice], unread: Iterable[Unread]) -> None:
    for choice in choices:
        item = choice.item
        context.listener.report(
            ItemFound(
                what=str(item),
                state=item.state,
                taken=choice.is_taken,
                reason=choice.reason,
                owner=item.owner,
                expires=item.labels.get("expires", ""),
                has_expired=choice.has_expired,
            )
        )
    for text in unread:
        context.warn(f"could not be checked: {text}")


def _report_removal(context: Context, removal: Removal, options: Cleanup) -> None:
    if not options.dry_run:
        report_removal(context, removal)


def _end_journals(context: Context, scope: Scope, report: SweepReport, untouched: Iterable[Item]) -> None:
    """End the journals of batches and bakes of which nothing billable is left. ``untouched``: billable, but not to be deleted."""
    spared = (choice.item for choice in report.spared)
    left = {item.purpose for item in (*report.left, *spared, *report.appeared, *untouched)}
    purposes = {removal.item.purpose for removal in report.removals} | {scope.batch, scope.bake}
    for journal in context.journals.open_journals():
        if journal.is_owner_alive or journal.name not in purposes or journal.name in left or report.unread:
            continue
        if journal.facts.get("project", context.settings.project) != context.settings.project:
            continue  # that project was not checked
        try:
            with context.reporting_journals.resume(journal.name) as state:
                for removal in report.removals:
                    if removal.item.purpose == journal.name and removal.item.kind in BILLED:
                        item = removal.item
                        state.record(
                            "gone", kind=item.kind.value, name=item.name, zone=item.location, answer=removal.answer
                        )
                state.end(CLEANED_UP)
        except HpcError as error:
            context.warn(f"the journal of {journal.name} could not be ended: {error}")


def _removal_values(removal: Removal, *, dry_run: bool) -> dict[str, Any]:
    state = "would be deleted" if dry_run else "deleted" if removal.is_gone else "failed"
    return {"what": str(removal.item), "state": state, "answer": removal.answer, "at": removal.at.isoformat()}


def _choice_values(choice: Choice) -> dict[str, Any]:
    return {"what": str(choice.item), "reason": choice.reason}


def _count(taken: Collection[Item]) -> str:
    return "this resource" if len(taken) == 1 else f"these {len(taken)} resources"
