"""Abandoned batches and bakes: reported with their price by the hour, or ended where no question is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.context import Context
from runner.errors import CloudError, HpcError
from runner.google import Instance
from runner.jobsfile import open_batches
from runner.journal import gone_clients
from runner.model import names
from runner.model.events import AbandonedInstance, BakeCleanup, BatchAbandoned
from runner.model.journal_state import BAKE, JournalState
from runner.model.lease import LeaseSight
from runner.model.leftover import Item, Kind
from runner.model.plan import price_per_hour
from runner.teardown import Key, end_bake, find_expired, item_of, write_receipt

ASK_LIMIT_S = 15.0  # a command that has nothing to do with the cloud must not wait for a network that is down


@dataclass(frozen=True, kw_only=True)
class Abandoned:
    """A batch or bake without a living client. ``instances`` None: the cloud could not be asked, ``trouble`` says why.

    ``usd_per_hour`` None: not known. ``is_from_here``: begun on this computer, and it is certain that its client is gone.
    ``can_continue``: its definition is in the bucket, as far as is known. ``watched_by``: another client that runs it.
    ``expired``: why instances have expired, by their name.
    """

    journal: JournalState
    is_from_here: bool
    instances: Sequence[Instance] | None
    usd_per_hour: float | None
    can_continue: bool = True
    watched_by: str = ""
    trouble: str = ""
    expired: Mapping[str, str] = field(default_factory=dict)

    @property
    def offers(self) -> tuple[str, ...]:
        """The commands that continue it or end it. A batch that another client runs can only be taken over."""
        name = self.journal.name
        if self.watched_by:
            return (f"invoke attach --batch {name} --take-over",)
        if self.journal.kind == BAKE:
            return (f"invoke cleanup --bake {name}",)
        end = f"invoke cleanup --batch {name}"
        return (f"invoke attach --batch {name}", end) if self.can_continue else (end,)

    def as_event(self) -> BatchAbandoned:
        """Return the event that reports it."""
        journal, instances = self.journal, self.instances
        return BatchAbandoned(
            name=journal.name,
            batch_or_bake=journal.kind,
            owner="" if journal.owner is None else str(journal.owner),
            started=None if journal.started is None else journal.started.isoformat(timespec="seconds"),
            is_detached=journal.is_detached,
            is_from_here=self.is_from_here,
            watched_by=self.watched_by,
            instances=None if instances is None else tuple(map(self._describe, instances)),
            usd_per_hour_at_most=self.usd_per_hour,
            trouble=self.trouble,
            offers=self.offers,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values of the event ``abandoned``."""
        return self.as_event().as_json()

    def _describe(self, instance: Instance) -> AbandonedInstance:
        return AbandonedInstance(
            name=instance.name,
            zone=instance.zone,
            status=instance.status,
            machine_type=instance.machine_type,
            expired=self.expired.get(instance.name, ""),
        )


def report_abandoned(
    context: Context,
    journals: Sequence[JournalState],
    *,
    may_clean: bool = True,
) -> list[Abandoned]:
    """See ``report.report_abandoned_batches``."""
    to_price: list[tuple[JournalState, bool]] = []
    for journal in journals:
        is_from_here = journal.is_owner_gone
        if is_from_here and not journal.resources and journal.kind != BAKE:
            _close(context, journal, "its client was gone before anything was created")
            continue
        is_ours_to_clean = may_clean and is_from_here and journal.kind == BAKE
        if not (is_ours_to_clean and _clean(context, journal)):
            to_price.append((journal, is_from_here))
    found = _price(context, to_price) if to_price else []
    for item in found:
        context.listener.report(item.as_event())
    return found


def _clean(context: Context, journal: JournalState) -> bool:
    """Delete all resources of an abandoned bake; return whether that is done."""
    context.listener.report(BakeCleanup(name=journal.name, state="started"))
    outcome = "its client was gone; all its resources were deleted"
    if not _close(context, journal, outcome, first=lambda: end_bake(context.with_new_phases(), journal.name)):
        return False
    context.listener.report(BakeCleanup(name=journal.name, state="done"))
    return True


def _close(
    context: Context,
    journal: JournalState,
    outcome: str,
    *,
    first: Callable[[], object] = lambda: None,
) -> bool:
    """End the journal of an abandoned batch or bake, as its owner, after ``first``; return False if that is impossible, or another process does it."""
    try:
        with context.reporting_journals.resume(journal.name) as state:
            first()
            state.end(outcome)
            ended = state.read()
    except HpcError as error:
        context.warn(f"{journal.name} could not be ended: {error}")
        return False
    try:
        if ended.resources:
            write_receipt(context, ended)
    except HpcError as error:
        context.warn(f"{journal.name} has ended, but without a receipt: {error}")
    return True


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the cloud lists: our instances, the batches whose definition is in the bucket, and their leases.

    ``expired``: why resources have expired, as ``find_expired`` has it.
    """

    instances: Sequence[Instance]
    open_batches: Collection[str]
    leases: Mapping[str, LeaseSight]
    expired: Mapping[Key, str]


def _price(context: Context, journals: Sequence[tuple[JournalState, bool]]) -> list[Abandoned]:
    """Return each of them with its cost now, by the resources that the cloud lists."""
    there, trouble = _ask_with_limit(context, {journal.name for journal, _ in journals})
    found = []
    for journal, is_from_here in journals:
        project = journal.facts.get("project", context.settings.project)
        why = trouble
        if project != context.settings.project:
            why = f"it is in project {project}; the settings say {context.settings.project}"
        theirs = None if why or there is None else _of(journal, there.instances)
        reasons = {} if there is None else there.expired
        found.append(
            Abandoned(
                journal=journal,
                is_from_here=is_from_here,
                instances=theirs,
                usd_per_hour=None if theirs is None else _total(context, theirs),
                can_continue=bool(why) or there is None or journal.name in there.open_batches,
                watched_by="" if why or there is None else _watcher(journal, there.leases.get(journal.name)),
                trouble=why,
                expired={vm.name: reason for vm in theirs or () if (reason := reasons.get(item_of(vm).key))},
            )
        )
    return found


def _watcher(journal: JournalState, sight: LeaseSight | None) -> str:
    """Return the client that watches a batch now, if it is not known to be gone."""
    if sight is None or not sight.is_watched:
        return ""
    return "" if sight.lease.is_held_by(gone_clients(journal)) else sight.lease.holder


def _ask_with_limit(context: Context, wanted: Collection[str]) -> tuple[_Found | None, str]:
    """Return what the cloud lists, or None and the reason, within a limit. ``wanted``: the batches whose leases are read."""
    answers: list[_Found] = []
    troubles: list[str] = []

    def ask() -> None:
        try:
            context.cloud.open(needs_engine=False)
            instances = context.cloud.compute.instances({"app": names.APP})
            batches = open_batches(context)
            controls = [item for name in batches if name in wanted for item in _find_control(context, name)]
            answers.append(
                _Found(
                    instances=instances,
                    open_batches=batches,
                    leases={item.batch: item.lease for item in controls if item.lease is not None},
                    expired=find_expired(context, [*map(item_of, instances), *controls]),
                )
            )
        except HpcError as error:
            troubles.append(str(error))

    asking = threading.Thread(target=ask, daemon=True, name="list what exists")
    asking.start()
    asking.join(ASK_LIMIT_S)
    if answers:
        return answers[0], ""
    return None, troubles[0] if troubles else f"the cloud did not answer within {ASK_LIMIT_S:.0f} s"


def _find_control(context: Context, batch: str) -> Sequence[Item]:
    """Find the control objects of a batch, with its lease."""
    found = context.cloud.inventory.find((Kind.CONTROL,), names.labels_of_batch(batch))
    if found.unread:
        raise CloudError("; ".join(map(str, found.unread)))
    return found.items


def _of(journal: JournalState, instances: Sequence[Instance]) -> list[Instance]:
    return [item for item in instances if journal.labels.items() <= item.labels.items()]


def _total(context: Context, instances: Sequence[Instance]) -> float | None:
    if context.is_local:
        return 0.0
    prices = [
        price_per_hour(
            instance.machine_type, disk_gib=instance.disk_gib or context.settings.disk_gib, is_off=instance.is_off
        )
        for instance in instances
    ]
    known = [price for price in prices if price is not None]
    return round(sum(known), 4) if len(known) == len(prices) else None
