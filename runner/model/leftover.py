"""What of ours may be removed, and what not: the decisions of a sweep. Pure; nothing here asks or touches a cloud.

A thing is ours if it bears the label ``app``; where labels cannot be had (firewalls, networks, service accounts, objects)
its name, its place in our bucket or its description say so, and whoever lists it puts that into ``labels``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from runner.model import names

ANY_OWNER = "any"
BASE_PART = "base"
STATE_PART = "state"
VALIDATED = "validated"
WATCHED_UNTIL = "watched_until"


class Kind(Enum):
    """The kinds of things, in the order in which they can be removed: what is used comes after its users."""

    INSTANCE = "instance"
    DISK = "disk"
    ADDRESS = "address"
    IMAGE = "image"
    SSH_KEY = "OS Login key"
    CONTROL = "control objects"
    RESULTS = "results"
    BUCKET = "bucket"
    FIREWALL = "firewall"
    ROUTER = "router"
    SUBNETWORK = "subnetwork"
    NETWORK = "network"
    ACCOUNT = "service account"
    ROLE = "custom role"
    STACK = "stack"


BILLED = (Kind.INSTANCE, Kind.DISK, Kind.ADDRESS)
ORDER = {kind: index for index, kind in enumerate(Kind)}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing of ours. ``place``: zone, region, bucket or project; '' where there is only one. ``state``: a word for it.
    Of disks and addresses ``users`` are what they are attached to, as ``ZONE/NAME`` for a VM; ``size_gib`` is a disk's.
    ``is_regional``: of what may be in a zone or a region, that its place is a region.

    ``labels``: ``app``, ``owner``, ``batch`` or ``bake``, ``expires``, ``part`` for what belongs to the stack ``base``,
    and ``watched_until``, written as ``expires``: the end of the lease, at the control objects of a batch.
    """

    kind: Kind
    name: str
    place: str = ""
    is_regional: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    users: tuple[str, ...] = ()
    size_gib: int = 0

    @property
    def batch(self) -> str:
        """Its batch, or ''."""
        return self.labels.get("batch", "")

    @property
    def bake(self) -> str:
        """Its bake, or ''."""
        return self.labels.get("bake", "")

    @property
    def purpose(self) -> str:
        """The batch or bake for which it was made."""
        return self.batch or self.bake

    @property
    def owner(self) -> str:
        """Whose it is, or ''."""
        return self.labels.get("owner", "")

    @property
    def expires_at(self) -> datetime | None:
        """When it was to be gone; None if that is not said, or not in our way of writing it."""
        return read_expires(self.labels.get("expires", ""))

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What tells it from all others."""
        return self.kind, self.place, self.name

    def has_expired(self, now: datetime) -> bool:
        """Should it be gone by now?"""
        return self.expires_at is not None and self.expires_at <= now

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}" + (f" in {self.place}" if self.place else "")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether an item shall be removed, and why, or why not."""

    item: Item
    is_taken: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a sweep is about: one batch, one bake, everything of this owner, or (none of these) what has outlived its purpose.

    ``results``: results and, with ``everything``, the bucket too. ``owner``: the owner whose things may be touched, or ``any``.
    ``busy``: batches and bakes that a living process is at, and who; they are left to it.
    """

    now: datetime
    owner: str
    batch: str = ""
    bake: str = ""
    everything: bool = False
    results: bool = False
    busy: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """What everything in this scope bears, for the cloud's own filter."""
        if self.batch:
            return names.labels_of_batch(self.batch)
        return names.labels_of_bake(self.bake) if self.bake else {"app": names.APP}

    def choose(self, items: Iterable[Item]) -> list[Choice]:
        """A choice for each item that this scope speaks of: expired ones first, then in the order of removal."""
        listed = list(items)
        alive = living_purposes(listed, self.now)
        choices = [choice for item in listed if (choice := self._judge(item, alive, listed)) is not None]
        return sorted(
            choices, key=lambda one: (not one.item.has_expired(self.now), ORDER[one.item.kind], one.item.key[1:])
        )

    def _judge(self, item: Item, alive: Collection[str], listed: Collection[Item]) -> Choice | None:
        wanted = self._wish(item, alive, listed)
        if wanted is None:
            return None
        if wanted.is_taken and item.labels.get("app") != names.APP:
            return Choice(item=item, is_taken=False, reason="it does not bear our label")
        if wanted.is_taken and item.purpose in self.busy:
            return Choice(item=item, is_taken=False, reason=f"{self.busy[item.purpose]} is at it")
        owner = self._owner_of(item, listed)
        if wanted.is_taken and self.owner != ANY_OWNER and owner != self.owner and not _is_orphan(item, owner):
            whose = f"it belongs to {owner}" if owner else "it does not say whose it is"
            return Choice(item=item, is_taken=False, reason=f"{whose}; --owner any takes it too")
        return wanted

    def _wish(self, item: Item, alive: Collection[str], listed: Collection[Item]) -> Choice | None:
        """The choice before it is asked whose it is; None if the scope does not speak of this item."""
        if self.batch:
            is_meant = item.batch == self.batch and (item.kind is not Kind.RESULTS or self.results)
            return Choice(item=item, is_taken=True, reason=f"of batch {self.batch}") if is_meant else None
        if item.kind is Kind.IMAGE and item.state == VALIDATED:
            is_meant = self.bake == item.bake if self.bake else self.everything
            return Choice(item=item, is_taken=False, reason="a validated image is kept") if is_meant else None
        if self.bake:
            is_meant = item.bake == self.bake
            return Choice(item=item, is_taken=True, reason=f"of bake {self.bake}") if is_meant else None
        return self._wish_of_all(item, listed) if self.everything else self._wish_of_dead(item, alive, listed)

    def _wish_of_all(self, item: Item, listed: Collection[Item]) -> Choice | None:
        if item.labels.get("part") == STATE_PART:
            return Choice(item=item, is_taken=False, reason="kept: the state of Pulumi's stacks")
        if self.busy and (item.kind is Kind.BUCKET or item.labels.get("part") == BASE_PART):
            at_it = ", ".join(f"{who} is at {name}" for name, who in sorted(self.busy.items()))
            return Choice(item=item, is_taken=False, reason=f"kept: {at_it}, which needs it")
        if item.kind in (Kind.RESULTS, Kind.BUCKET) and not self.results:
            return Choice(item=item, is_taken=False, reason="kept without --results")
        if item.kind is Kind.BUCKET and (others := self._others(listed, (Kind.RESULTS, Kind.CONTROL))):
            return Choice(item=item, is_taken=False, reason=f"kept: it holds objects of {', '.join(others)}")
        if item.labels.get("part") == BASE_PART and item.kind is not Kind.BUCKET and not self._base_is_dead(listed):
            return Choice(item=item, is_taken=False, reason="kept: the base is alive as long as its bucket is")
        if item.kind is Kind.SSH_KEY and not item.has_expired(self.now):
            return Choice(item=item, is_taken=False, reason="kept: it is valid, and ends by itself")
        return Choice(item=item, is_taken=True, reason="of everything")

    def _wish_of_dead(self, item: Item, alive: Collection[str], listed: Collection[Item]) -> Choice | None:
        if item.kind in (Kind.RESULTS, Kind.BUCKET) or item.labels.get("part") == BASE_PART:
            return None
        if item.kind is Kind.CONTROL and item.purpose in alive:
            return None
        if item.has_expired(self.now) and (until := _watched_until(item.purpose, listed)) and until > self.now:
            return Choice(item=item, is_taken=False, reason=f"kept: its lease runs until {until:%Y-%m-%d %H:%M} UTC")
        if item.has_expired(self.now):
            return Choice(item=item, is_taken=True, reason=f"expired at {item.expires_at:%Y-%m-%d %H:%M} UTC")
        is_companion = item.kind in (Kind.IMAGE, Kind.ACCOUNT) and bool(item.purpose)
        is_of_elsewhere = item.kind is Kind.STACK and bool(item.batch) and not item.owner
        if (is_companion or is_of_elsewhere) and item.purpose not in alive:
            return Choice(item=item, is_taken=True, reason=f"{item.purpose} has no VM any more")
        return None

    def _owner_of(self, item: Item, listed: Collection[Item]) -> str:
        """Whose it is; a stack that does not say it belongs with what else there is for its purpose."""
        if item.owner or item.kind is not Kind.STACK or not item.purpose:
            return item.owner
        owners = {other.owner for other in listed if other.owner and other.purpose == item.purpose}
        return min(owners, key=lambda owner: (owner == self.owner, owner), default="")

    def _base_is_dead(self, listed: Collection[Item]) -> bool:
        """No bucket of the base stays, and nobody else uses what it has."""
        if self._others(listed, (*BILLED, Kind.RESULTS, Kind.CONTROL, Kind.BUCKET)):
            return False
        return self.results or not any(
            item.kind is Kind.BUCKET and item.labels.get("part") == BASE_PART for item in listed
        )

    def _others(self, listed: Collection[Item], kinds: Collection[Kind]) -> list[str]:
        """Whose things of these kinds may not be touched."""
        if self.owner == ANY_OWNER:
            return []
        found = (item for item in listed if item.kind in kinds and item.labels.get("part") != STATE_PART)
        return sorted({item.owner or "somebody" for item in found if item.owner != self.owner})


def _watched_until(purpose: str, listed: Iterable[Item]) -> datetime | None:
    """The end of a batch's lease; None if it has none."""
    found = (item.labels.get(WATCHED_UNTIL, "") for item in listed if purpose and item.purpose == purpose)
    return max((end for text in found if (end := read_expires(text)) is not None), default=None)


def _is_orphan(item: Item, owner: str) -> bool:
    """A part of the base, whose owner nobody can tell once the bucket is gone; it is a project's only one of its name.
    Or a stack of which nothing else is left that would say whose it was.
    """
    if owner or item.kind is Kind.BUCKET:
        return False
    return item.kind is Kind.STACK or item.labels.get("part") == BASE_PART


def living_purposes(items: Iterable[Item], now: datetime) -> frozenset[str]:
    """The batches and bakes that have something which has not outlived its time."""
    kinds = (*BILLED, Kind.CONTROL)
    return frozenset(
        item.purpose for item in items if item.kind in kinds and item.purpose and not item.has_expired(now)
    )


def read_expires(text: str) -> datetime | None:
    """The time of a label ``expires``, in UTC."""
    try:
        return datetime.strptime(text, "%Y%m%d-%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None


def read_labels(text: str) -> dict[str, str]:
    """Labels written as ``key=value`` words into a description, where a thing can have no labels."""
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


def write_labels(labels: Mapping[str, str]) -> str:
    """The words that ``read_labels`` reads."""
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items()))
