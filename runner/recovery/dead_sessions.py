"""Abandoned sessions: reported with their price by the hour, or ended where nobody needs to be asked."""

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
from runner.model.events import AbandonedInstance, BakeCleanup, SessionAbandoned
from runner.model.lease import LeaseSight
from runner.model.leftover import Item, Kind
from runner.model.plan import price_per_hour
from runner.model.session import BAKE, Session
from runner.teardown import Key, end_bake, find_expired, item_of, write_receipt

ASK_LIMIT_S = 15.0  # a command that has nothing to do with the cloud must not wait for a network that is down


@dataclass(frozen=True, kw_only=True)
class DeadSession:
    """A batch or bake without a living client. ``instances`` None: the cloud could not be asked, ``trouble`` says why.

    ``usd_per_hour`` None: not known. ``is_from_here``: begun on this computer, and it is certain that its client is gone.
    ``can_go_on``: its definition is in the bucket, as far as is known. ``watched_by``: another client that runs it.
    ``outlived``: why instances have expired, by their name.
    """

    session: Session
    is_from_here: bool
    instances: Sequence[Instance] | None
    usd_per_hour: float | None
    can_go_on: bool = True
    watched_by: str = ""
    trouble: str = ""
    outlived: Mapping[str, str] = field(default_factory=dict)

    @property
    def offers(self) -> tuple[str, ...]:
        """The commands that continue it or end it. What another client runs can only be taken over."""
        name = self.session.name
        if self.watched_by:
            return (f"invoke attach --batch {name} --take-over",)
        if self.session.kind == BAKE:
            return (f"invoke cleanup --bake {name}",)
        end = f"invoke cleanup --batch {name}"
        return (f"invoke attach --batch {name}", end) if self.can_go_on else (end,)

    def as_event(self) -> SessionAbandoned:
        """Return the event that reports it."""
        session, instances = self.session, self.instances
        return SessionAbandoned(
            name=session.name,
            session_kind=session.kind,
            owner="" if session.owner is None else str(session.owner),
            started=None if session.started is None else session.started.isoformat(timespec="seconds"),
            is_detached=session.is_detached,
            is_from_here=self.is_from_here,
            watched_by=self.watched_by,
            instances=None if instances is None else tuple(map(self._describe, instances)),
            usd_per_hour_at_most=self.usd_per_hour,
            trouble=self.trouble,
            offers=self.offers,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values of the event ``dead_session``."""
        return self.as_event().as_json()

    def _describe(self, instance: Instance) -> AbandonedInstance:
        return AbandonedInstance(
            name=instance.name,
            zone=instance.zone,
            status=instance.status,
            machine_type=instance.machine_type,
            outlived=self.outlived.get(instance.name, ""),
        )


def tell_dead_sessions(
    context: Context,
    dead: Sequence[Session],
    *,
    may_clean: bool = True,
) -> list[DeadSession]:
    """See ``sessions.report_dead_sessions``."""
    to_price: list[tuple[Session, bool]] = []
    for session in dead:
        is_from_here = session.is_owner_gone
        if is_from_here and not session.resources and session.kind != BAKE:
            _close(context, session, "its client was gone before anything was created")
            continue
        is_ours_to_clean = may_clean and is_from_here and session.kind == BAKE
        if not (is_ours_to_clean and _clean(context, session)):
            to_price.append((session, is_from_here))
    found = _price(context, to_price) if to_price else []
    for item in found:
        context.listener.report(item.as_event())
    return found


def _clean(context: Context, session: Session) -> bool:
    """Remove everything of an abandoned bake; return whether that is done."""
    context.listener.report(BakeCleanup(name=session.name, state="started"))
    outcome = "its client was gone; everything of it was removed"
    if not _close(context, session, outcome, first=lambda: end_bake(context.with_new_phases(), session.name)):
        return False
    context.listener.report(BakeCleanup(name=session.name, state="done"))
    return True


def _close(
    context: Context,
    session: Session,
    outcome: str,
    *,
    first: Callable[[], object] = lambda: None,
) -> bool:
    """End an abandoned session, as its owner, after ``first``; return False if that is not possible, or somebody else does."""
    try:
        with context.reporting_journal.resume(session.name) as state:
            first()
            state.end(outcome)
            ended = state.read()
    except HpcError as error:
        context.warn(f"{session.name} could not be ended: {error}")
        return False
    try:
        if ended.resources:
            write_receipt(context, ended)
    except HpcError as error:
        context.warn(f"{session.name} has ended, but without a receipt: {error}")
    return True


@dataclass(frozen=True, kw_only=True)
class _There:
    """What the cloud says that there is: our instances, the batches whose definition is in the bucket, and their leases.

    ``outlived``: why resources have expired, as ``find_expired`` has it.
    """

    instances: Sequence[Instance]
    open_batches: Collection[str]
    leases: Mapping[str, LeaseSight]
    outlived: Mapping[Key, str]


def _price(context: Context, sessions: Sequence[tuple[Session, bool]]) -> list[DeadSession]:
    """Return what each of them costs now, by what the cloud says that there is of it."""
    there, trouble = _ask_with_limit(context, {session.name for session, _ in sessions})
    found = []
    for session, is_from_here in sessions:
        project = session.facts.get("project", context.settings.project)
        why = trouble
        if project != context.settings.project:
            why = f"it is in project {project}, the settings are about {context.settings.project}"
        theirs = None if why or there is None else _of(session, there.instances)
        reasons = {} if there is None else there.outlived
        found.append(
            DeadSession(
                session=session,
                is_from_here=is_from_here,
                instances=theirs,
                usd_per_hour=None if theirs is None else _total(context, theirs),
                can_go_on=bool(why) or there is None or session.name in there.open_batches,
                watched_by="" if why or there is None else _watcher(session, there.leases.get(session.name)),
                trouble=why,
                outlived={vm.name: reason for vm in theirs or () if (reason := reasons.get(item_of(vm).key))},
            )
        )
    return found


def _watcher(session: Session, sight: LeaseSight | None) -> str:
    """Return the client that watches a batch now, if it is not known to be gone."""
    if sight is None or not sight.is_watched:
        return ""
    return "" if sight.lease.is_held_by(gone_clients(session)) else sight.lease.holder


def _ask_with_limit(context: Context, wanted: Collection[str]) -> tuple[_There | None, str]:
    """Return what there is, or None and why that is not known, within a limit. ``wanted``: whose leases are read."""
    answers: list[_There] = []
    troubles: list[str] = []

    def ask() -> None:
        try:
            context.cloud.open(needs_engine=False)
            instances = context.cloud.compute.instances({"app": names.APP})
            batches = open_batches(context)
            controls = [item for name in batches if name in wanted for item in _find_control(context, name)]
            answers.append(
                _There(
                    instances=instances,
                    open_batches=batches,
                    leases={item.batch: item.lease for item in controls if item.lease is not None},
                    outlived=find_expired(context, [*map(item_of, instances), *controls]),
                )
            )
        except HpcError as error:
            troubles.append(str(error))

    asking = threading.Thread(target=ask, daemon=True, name="ask for what is there")
    asking.start()
    asking.join(ASK_LIMIT_S)
    if answers:
        return answers[0], ""
    return None, troubles[0] if troubles else f"the cloud did not answer within {ASK_LIMIT_S:.0f} s"


def _find_control(context: Context, batch: str) -> Sequence[Item]:
    """Find the control objects of a batch, with its lease."""
    found = context.cloud.estate.find((Kind.CONTROL,), names.labels_of_batch(batch))
    if found.unread:
        raise CloudError("; ".join(map(str, found.unread)))
    return found.items


def _of(session: Session, instances: Sequence[Instance]) -> list[Instance]:
    return [item for item in instances if session.labels.items() <= item.labels.items()]


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
