"""The items of a receipt, from the journal's records of each resource and the cloud's answers about it. Pure.

Times come from the cloud's own operations where it still has them, else from the journal, whose "intended" is before the
true start and whose "gone" is after the true end: either way the time is a ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from runner.model import catalog
from runner.model.journal_state import JournalState, Resource
from runner.model.leftover import Kind
from runner.model.plan import hourly_price

INSTANCE = Kind.INSTANCE.value
DISK = Kind.DISK.value
LEAST_BILLED_S = 60.0  # https://cloud.google.com/compute/vm-instance-pricing: at least a minute, then by the second
ACTS_REMEMBERED = timedelta(days=7)  # Google forgets operations after about two weeks
Key = tuple[str, str, str]


class ItemState(Enum):
    """What has become of a resource. ``UNKNOWN``: the cloud could not be asked."""

    GONE = "gone"
    NEVER_CREATED = "never created"
    KEPT = "kept"
    STILL_THERE = "still there"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class CloudAct:
    """An operation on a resource, as the cloud recorded it: insert, delete, compute.instances.preempted…"""

    name: str
    kind: str
    started: datetime
    ended: datetime | None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the cloud answered about one name. ``words``: literally (404, RUNNING…); ``acts`` None: it was not asked for them."""

    kind: str
    name: str
    zone: str
    by_name: bool | None
    by_label: bool | None
    words: str
    acts: tuple[CloudAct, ...] | None = None

    @property
    def is_there(self) -> bool | None:
        """True if either query finds it, False only if neither does; None if that is not known."""
        if self.by_name or self.by_label:
            return True
        return None if self.by_name is None or self.by_label is None else False


@dataclass(frozen=True, kw_only=True)
class ReceiptItem:
    """One resource. ``usd_per_hour`` None: its price is not known."""

    kind: str
    name: str
    zone: str
    state: ItemState
    intended: datetime | None = None
    created: datetime | None = None
    gone: datetime | None = None
    answers: tuple[str, ...] = ()
    machine_type: str = ""
    seconds: float = 0.0
    usd_per_hour: float | None = 0.0

    @property
    def answer(self) -> str:
        """What the cloud answered, for people."""
        return "; ".join(self.answers)

    @property
    def usd_at_most(self) -> float | None:
        """What it cost at most, in USD; None if the price is not known."""
        if self.usd_per_hour is None:
            return None
        return max(self.seconds, LEAST_BILLED_S) * self.usd_per_hour / 3600 if self.seconds else 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" in {self.zone}" if self.zone else "")


@dataclass(frozen=True, kw_only=True)
class _Life:
    """One of the resources that had the same name, one after the other. ``answer`` is about the name as it is now, ``acts`` are about this one."""

    resource: Resource
    answer: Answer | None
    acts: Sequence[CloudAct]
    is_last: bool
    until: datetime


def make_items(
    journal: JournalState, answers: Sequence[Answer], *, until: datetime, is_free: bool
) -> tuple[ReceiptItem, ...]:
    """Return an item for each resource that the journal knows, and for each other one that has its label. ``until``: now."""
    asked = {(answer.kind, answer.name, answer.zone): answer for answer in answers}
    lives = _list_lives(journal, asked, until)
    known = {_key(life.resource) for life in lives}
    strays = [answer for key, answer in asked.items() if key not in known and answer.is_there]
    return (
        *(_item(life, journal, is_free=is_free) for life in lives),
        *(_stray(answer, is_free=is_free) for answer in strays),
    )


def _list_lives(journal: JournalState, asked: dict[Key, Answer], until: datetime) -> list[_Life]:
    """Return every life in the journal, in its order, with the cloud's operations on it if both have the same number of lives."""
    named: dict[Key, list[Resource]] = {}
    for resource in journal.resources:
        named.setdefault(_key(resource), []).append(resource)
    acts: dict[int, Sequence[CloudAct]] = {}
    for key, resources in named.items():
        lived = [resource for resource in resources if not resource.has_failed]
        remembered = split_lives(asked[key].acts or ()) if key in asked else []
        if len(lived) == len(remembered):
            acts |= {id(resource): life for resource, life in zip(lived, remembered, strict=True)}
    return [
        _Life(
            resource=resource,
            answer=asked.get(_key(resource)),
            acts=acts.get(id(resource), ()),
            is_last=named[_key(resource)][-1] is resource,
            until=until,
        )
        for resource in journal.resources
    ]


def split_lives(acts: Sequence[CloudAct]) -> list[list[CloudAct]]:
    """Return the acts on one name, a list for each life: each begins with an insertion that succeeded."""
    lives: list[list[CloudAct]] = []
    for act in sorted(acts, key=lambda act: act.started):
        if act.kind == "insert" and not act.error:
            lives.append([act])
        elif lives and not act.error:
            lives[-1].append(act)
    return lives


def _item(life: _Life, journal: JournalState, *, is_free: bool) -> ReceiptItem:
    resource, state = life.resource, _state(life)
    gone = resource.gone
    if state is ItemState.GONE and len(life.acts) > 1:
        gone = life.acts[-1].ended or gone
    elif state in (ItemState.STILL_THERE, ItemState.KEPT):
        gone = None
    return ReceiptItem(
        kind=resource.kind,
        name=resource.name,
        zone=resource.zone,
        state=state,
        intended=resource.intended,
        created=life.acts[0].ended or life.acts[0].started if life.acts else resource.created,
        gone=gone,
        answers=_words(life),
        machine_type=_machine_type(resource, journal),
        seconds=_seconds(life, state, gone, journal.plan.get("max_run_s")),
        usd_per_hour=0.0 if is_free else _price(resource, journal),
    )


def _state(life: _Life) -> ItemState:
    resource, is_there = life.resource, life.answer.is_there if life.answer else None
    if not life.is_last:
        return ItemState.NEVER_CREATED if resource.has_failed else ItemState.GONE
    if is_there:
        return ItemState.KEPT if resource.is_kept else ItemState.STILL_THERE
    if life.answer is not None and is_there is None:
        return ItemState.UNKNOWN
    if resource.has_failed or _was_never_inserted(life):
        return ItemState.NEVER_CREATED
    if life.answer is not None or resource.gone is not None:
        return ItemState.GONE
    return ItemState.KEPT if resource.is_kept and resource.created else ItemState.UNKNOWN


def _was_never_inserted(life: _Life) -> bool:
    """Return whether the cloud still has all recent operations, and none of them created this."""
    resource, answer = life.resource, life.answer
    if answer is None or answer.acts is None or resource.created is not None or resource.intended is None:
        return False
    return life.until - resource.intended < ACTS_REMEMBERED and not split_lives(answer.acts)


def _words(life: _Life) -> tuple[str, ...]:
    """Return the cloud's own answers: its operations, its answers in the journal, its answer now."""
    did = [f"{act.kind} {act.name}" for act in life.acts[1:]]
    now = life.answer.words if life.answer is not None and life.is_last else ""
    heard = life.resource.answers  # some may be from an earlier receipt
    return tuple(dict.fromkeys(part for part in (*did, *heard, now) if part))


def _seconds(life: _Life, state: ItemState, gone: datetime | None, max_run_s: object) -> float:
    """Return how long it existed at most, in s. Where its deletion was not seen, its maxRunDuration is the end."""
    begun = life.acts[0].started if life.acts else life.resource.intended or life.resource.created
    if begun is None or state is ItemState.NEVER_CREATED:
        return 0.0
    seconds = max(0.0, ((gone or life.until) - begun).total_seconds())
    was_seen_to_go = state is not ItemState.GONE or gone is not None
    return seconds if was_seen_to_go or not isinstance(max_run_s, int | float) else min(seconds, float(max_run_s))


def _key(resource: Resource) -> Key:
    return resource.kind, resource.name, resource.zone


def _machine_type(resource: Resource, journal: JournalState) -> str:
    planned = journal.plan.get("machine_type", "") if resource.kind == INSTANCE else ""
    return str(resource.facts.get("machine_type", planned))


def _price(resource: Resource, journal: JournalState) -> float | None:
    """Return its price on demand, in USD an hour. A boot disk or an address is part of its VM's price, unless the journal has a size or a price for it."""
    own, disk_gib = (_number(resource.facts.get(key)) for key in ("price_usd_per_hour", "disk_gib"))
    if own is not None:
        return own
    if resource.kind != INSTANCE:
        return disk_gib * catalog.DISK_USD_PER_GIB_HOUR if resource.kind == DISK and disk_gib is not None else 0.0
    name, planned = _machine_type(resource, journal), _number(journal.plan.get("price_usd_per_hour"))
    if name == journal.plan.get("machine_type", "") and planned is not None:
        return planned
    machine = catalog.MACHINE_TYPES.get(name)
    gib = disk_gib or _number(journal.plan.get("disk_gib")) or 0
    return None if machine is None else hourly_price(machine, int(gib))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _stray(answer: Answer, *, is_free: bool) -> ReceiptItem:
    return ReceiptItem(
        kind=answer.kind,
        name=answer.name,
        zone=answer.zone,
        state=ItemState.STILL_THERE,
        answers=(answer.words, "it has the label, but is not in the journal"),
        usd_per_hour=0.0 if is_free else None,
    )
