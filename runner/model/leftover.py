"""Which of our resources may be removed, and which not: the decisions of a sweep. Pure; nothing here calls a cloud.

A resource is ours if it has the label ``app``. Where labels are impossible (firewalls, networks, service accounts, objects),
its name, its place in our bucket or its description shows it, and the code that lists it fills ``labels`` from that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum

from runner.model import names
from runner.model.lease import Lease, LeaseSight

ANY_OWNER = "any"
BASE_PART = "base"
STATE_PART = "state"
VALIDATED = "validated"
SETTINGS_ONLY = "only its settings exist"  # of a stack: it was never created, as far as is known, or it is gone


class Kind(Enum):
    """The kinds of resources, in the order in which they can be removed: users before what they use.

    A lease is found as one of the control objects of its batch, and is an item of its own only where it is removed before everything else.
    """

    LEASE = "lease"
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
    GRANT = "IAM grant"
    ACCOUNT = "service account"
    ROLE = "custom role"
    STACK = "stack"


BILLED = (Kind.INSTANCE, Kind.DISK, Kind.ADDRESS)
LEASED = (
    *BILLED,
    Kind.STACK,
)  # what a batch does not need when its jobs are over; its definition stays, so that a client can attach
SWITCHED_OFF = frozenset({"TERMINATED", "STOPPED"})
SHOWN = "%Y-%m-%d %H:%M"
ORDER = {kind: index for index, kind in enumerate(Kind)}


@dataclass(frozen=True, kw_only=True)
class Item:
    """One resource of ours. ``location``: zone, region, bucket or project; '' where there is only one. ``state``: one word.
    Of disks and addresses ``users`` are what they are attached to, as ``ZONE/NAME`` for a VM; ``size_gib`` is a disk's.
    ``is_regional``: its location is a region, of a kind that can be in a zone or in a region.

    ``labels``: ``app``, ``owner``, ``batch`` or ``bake``, ``expires``, ``part`` for what belongs to the stack ``base``.
    ``lease``: of control objects, the lease of their batch, if it has one. ``uid``: the cloud's own ID, or the time of creation;
    a later resource of the same name has another one. Of objects ``since`` and ``until`` are when the oldest and the youngest were written.
    """

    kind: Kind
    name: str
    location: str = ""
    is_regional: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    users: tuple[str, ...] = ()
    size_gib: int = 0
    lease: LeaseSight | None = None
    uid: str = ""
    since: str = ""
    until: str = ""

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
        """The batch or bake for which it was created."""
        return self.batch or self.bake

    @property
    def owner(self) -> str:
        """The owner, or ''."""
        return self.labels.get("owner", "")

    @property
    def expires_at(self) -> datetime | None:
        """The time after which it should be gone; None without such a label, or if it is not in our format."""
        return read_expires(self.labels.get("expires", ""))

    @property
    def key(self) -> tuple[Kind, str, str]:
        """The kind, location and name, which no other item has together."""
        return self.kind, self.location, self.name

    def is_still(self, earlier: Item) -> bool:
        """Return whether it is the item that was seen earlier under its key, and not a new one of the same name."""
        return (self.key, self.uid) == (earlier.key, earlier.uid) and (not earlier.until or self.since <= earlier.until)

    def has_expired(self, now: datetime) -> bool:
        """Return whether it should be gone by now."""
        return self.expires_at is not None and self.expires_at <= now

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}" + (f" in {self.location}" if self.location else "")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether an item is to be removed, and why, or why not. ``has_expired``: whether it has expired, whatever the scope.

    ``is_spared``: the scope has it, but it stays because a living client uses it, or because somebody else owns it.
    """

    item: Item
    is_taken: bool
    reason: str
    has_expired: bool = False
    is_spared: bool = False


class Found:
    """All items that were found together, at ``now``: how they are related, and which of them have expired.

    ``alive``: the batches and bakes that have items which have not.
    """

    def __init__(self, items: Iterable[Item], now: datetime) -> None:
        self.items = tuple(items)
        self._now = now
        self._leases = {item.batch: item.lease for item in self.items if item.lease is not None}
        self._switched_off = {f"{item.location}/{item.name}" for item in self.items if _is_switched_off(item)}
        self.alive = frozenset(item.purpose for item in self.items if item.purpose and self._is_alive(item))

    def judge(self, item: Item) -> Choice | None:
        """Return whether it has expired, or why it stays although it looks so; None if there is no sign of it.

        There are three signs: its label, a VM that is switched off and only costs money, and the lease of its batch. As long as
        the lease runs, a client looks after all of the batch.
        """
        lease, reason = self._leases.get(item.batch), self._own_reason(item)
        if lease is not None and not lease.is_over:
            kept = f"kept: its lease runs until {self._after(lease.left_s)}"
            return Choice(item=item, is_taken=False, reason=kept) if reason else None
        if reason:
            return Choice(item=item, is_taken=True, reason=reason, has_expired=True)
        return None if lease is None or item.kind not in LEASED else self._judge_by_lease(item, lease)

    def _own_reason(self, item: Item) -> str:
        if item.has_expired(self._now):
            return f"expired at {item.expires_at:{SHOWN}} UTC"
        if _is_switched_off(item):
            return f"it is {item.state}, and its disk still costs money"
        if item.kind in (Kind.DISK, Kind.ADDRESS) and item.users and self._switched_off.issuperset(item.users):
            return "its VM is switched off"
        return ""

    def _judge_by_lease(self, item: Item, lease: LeaseSight) -> Choice:
        """Return whether it is to be removed, now that nobody renews the lease any more."""
        if lease.jobs_left_s <= 0:
            left = "left with --detach; its last deadline was" if lease.lease.detached else "its lease ended"
            reason = f"{left} at {self._after(lease.jobs_left_s)}"
            return Choice(item=item, is_taken=True, reason=reason, has_expired=True)
        until = "" if math.isinf(lease.jobs_left_s) else f" until {self._after(lease.jobs_left_s)}"
        return Choice(item=item, is_taken=False, reason=f"kept: left with --detach; its jobs may run{until}")

    def _is_alive(self, item: Item) -> bool:
        if item.kind is Kind.CONTROL:
            return not item.has_expired(self._now)
        judged = self.judge(item) if item.kind in BILLED else None
        return item.kind in BILLED and (judged is None or not judged.has_expired)

    def _after(self, seconds: float) -> str:
        return f"{self._now + timedelta(seconds=seconds):{SHOWN}} UTC"


def find_watchers(items: Iterable[Item]) -> dict[str, Lease]:
    """Return the leases of the batches that a client watches."""
    sights = {item.batch: item.lease for item in items if item.lease is not None}
    return {batch: sight.lease for batch, sight in sights.items() if sight.is_watched}


def _is_switched_off(item: Item) -> bool:
    """Return whether it is a batch's VM that could not delete itself. A bake's builder is switched off on purpose, while its image is created."""
    return item.kind is Kind.INSTANCE and bool(item.batch) and item.state in SWITCHED_OFF


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a sweep covers: one batch, one bake, everything of this owner, or (none of these) expired resources.

    ``results``: results and, with ``everything``, the bucket too. ``owner``: the owner whose resources may be touched, or ``any``.
    ``busy``: batches and bakes that a living process uses, and which process; their resources stay. ``gone``: clients that are known to be
    gone, as ``Lease.is_held_by`` takes them. ``everything`` leaves out batches that other clients watch; ``batch`` does not.
    """

    now: datetime
    owner: str
    batch: str = ""
    bake: str = ""
    everything: bool = False
    results: bool = False
    busy: Mapping[str, str] = field(default_factory=dict)
    gone: Collection[str] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything in this scope, for the cloud's own filter."""
        if self.batch:
            return names.labels_of_batch(self.batch)
        return names.labels_of_bake(self.bake) if self.bake else {"app": names.APP}

    def choose(self, items: Iterable[Item]) -> list[Choice]:
        """Return a choice for each item in this scope: expired ones first, then in the order of removal."""
        found = Found(items, self.now)
        choices = [
            replace(choice, has_expired=_has_expired(found, item))
            for item in found.items
            if (choice := self._judge(item, found)) is not None
        ]
        return sorted(choices, key=lambda one: (not one.has_expired, ORDER[one.item.kind], one.item.key[1:]))

    def _judge(self, item: Item, found: Found) -> Choice | None:
        wanted = self._choose_in_scope(item, found)
        if wanted is None:
            return None
        if wanted.is_taken and item.labels.get("app") != names.APP:
            return Choice(item=item, is_taken=False, reason="it does not have our label")
        owner = self._owner_of(item, found.items)
        if wanted.is_taken and self.owner != ANY_OWNER and owner != self.owner and not _is_orphan(item, owner):
            whose = f"it belongs to {owner}" if owner else "its owner is unknown"
            by_name = bool(self.batch or self.bake)
            return Choice(item=item, is_taken=False, reason=f"{whose}; --owner any removes it too", is_spared=by_name)
        if wanted.is_taken and item.purpose in self.busy:
            reason = f"in use by {self.busy[item.purpose]}"
            return Choice(item=item, is_taken=False, reason=reason, is_spared=self.everything)
        if wanted.is_taken and self.everything and item.batch in (watchers := self._watchers(found)):
            reason = f"{watchers[item.batch]} is watching it; --batch {item.batch} removes it anyway"
            return Choice(item=item, is_taken=False, reason=reason, is_spared=True)
        return wanted

    def _watchers(self, found: Found) -> Mapping[str, str]:
        """Return the client that watches each batch, except clients that are known to be gone."""
        watched = find_watchers(found.items)
        return {batch: lease.holder for batch, lease in watched.items() if not lease.is_held_by(self.gone)}

    def _choose_in_scope(self, item: Item, found: Found) -> Choice | None:
        """Return the choice, owners not considered; None if the item is not in the scope."""
        if self.batch:
            is_meant = item.batch == self.batch and (item.kind is not Kind.RESULTS or self.results)
            return Choice(item=item, is_taken=True, reason=f"of batch {self.batch}") if is_meant else None
        if item.kind is Kind.IMAGE and item.state == VALIDATED:
            is_meant = self.bake == item.bake if self.bake else self.everything
            return Choice(item=item, is_taken=False, reason="a validated image is kept") if is_meant else None
        if self.bake:
            is_meant = item.bake == self.bake
            return Choice(item=item, is_taken=True, reason=f"of bake {self.bake}") if is_meant else None
        return self._choose_all(item, found) if self.everything else self._choose_expired(item, found)

    def _choose_all(self, item: Item, found: Found) -> Choice:
        listed = found.items
        if item.labels.get("part") == STATE_PART:
            return Choice(item=item, is_taken=False, reason="kept: the state of Pulumi's stacks")
        if item.kind in (Kind.RESULTS, Kind.BUCKET) and not self.results:
            return Choice(item=item, is_taken=False, reason="kept without --results")
        if item.kind is Kind.BUCKET and (others := self._others(listed, (Kind.RESULTS, Kind.CONTROL))):
            return Choice(item=item, is_taken=False, reason=f"kept: it has objects of {', '.join(others)}")
        if item.labels.get("part") == BASE_PART and item.kind is not Kind.BUCKET and not self._base_is_unused(listed):
            return Choice(item=item, is_taken=False, reason="kept: the base stays as long as its bucket")
        if item.kind is Kind.SSH_KEY and not item.has_expired(self.now):
            return Choice(item=item, is_taken=False, reason="kept: it is still valid, and expires")
        clients = {**self._watchers(found), **self.busy}
        if clients and (item.kind is Kind.BUCKET or item.labels.get("part") == BASE_PART):
            users = ", ".join(f"{name}, in use by {who}" for name, who in sorted(clients.items()))
            return Choice(item=item, is_taken=False, reason=f"kept: needed by {users}", is_spared=True)
        return Choice(item=item, is_taken=True, reason="of everything")

    def _choose_expired(self, item: Item, found: Found) -> Choice | None:
        if item.kind in (Kind.RESULTS, Kind.BUCKET) or item.labels.get("part") == BASE_PART:
            return None
        if item.kind is Kind.CONTROL and item.purpose in found.alive:
            return None
        if (judged := found.judge(item)) is not None:
            return judged
        is_companion = item.kind in (Kind.IMAGE, Kind.ACCOUNT) and bool(item.purpose)
        is_of_elsewhere = item.kind is Kind.STACK and bool(item.batch) and not item.owner
        if (is_companion or is_of_elsewhere) and item.purpose not in found.alive:
            return Choice(item=item, is_taken=True, reason=f"{item.purpose} has no VM any more")
        return None

    def _owner_of(self, item: Item, listed: Collection[Item]) -> str:
        """Return its owner; a stack without that label belongs to the owner of the other items of its batch or bake."""
        if item.owner or item.kind is not Kind.STACK or not item.purpose:
            return item.owner
        owners = {other.owner for other in listed if other.owner and other.purpose == item.purpose}
        return min(owners, key=lambda owner: (owner == self.owner, owner), default="")

    def _base_is_unused(self, listed: Collection[Item]) -> bool:
        """Return whether no bucket of the base stays, and no other owner uses the base."""
        if self._others(listed, (*BILLED, Kind.RESULTS, Kind.CONTROL, Kind.BUCKET)):
            return False
        return self.results or not any(
            item.kind is Kind.BUCKET and item.labels.get("part") == BASE_PART for item in listed
        )

    def _others(self, listed: Collection[Item], kinds: Collection[Kind]) -> list[str]:
        """Return the owners whose resources of these kinds may not be touched."""
        if self.owner == ANY_OWNER:
            return []
        found = (item for item in listed if item.kind in kinds and item.labels.get("part") != STATE_PART)
        return sorted({item.owner or "somebody" for item in found if item.owner != self.owner})


def _has_expired(found: Found, item: Item) -> bool:
    judged = found.judge(item)
    return judged is not None and judged.has_expired


def _is_orphan(item: Item, owner: str) -> bool:
    """Return whether it is a part of the base, whose owner cannot be known once the bucket is gone (a project has only one of its name);
    or a stack of which nothing else is left that would show its owner.
    """
    if owner or item.kind is Kind.BUCKET:
        return False
    return item.kind is Kind.STACK or item.labels.get("part") == BASE_PART


def read_expires(text: str) -> datetime | None:
    """Read the time of a label ``expires``, in UTC."""
    try:
        return datetime.strptime(text, "%Y%m%d-%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None


def read_labels(text: str) -> dict[str, str]:
    """Read labels that are written as ``key=value`` words into a description, where a resource cannot have labels."""
    return dict(part.split("=", 1) for part in text.split() if "=" in part)
