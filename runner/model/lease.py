"""The lease of a batch: a small object in the bucket that says until when its VMs are wanted, and until when its jobs may run.

The client that watches the batch renews it. The VMs read it (``packer/vm/lib/opensees_hpc/lease.py``): they take its length from
here and its age from the storage server, so that no clock of a client or VM has to be right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.model.foreign import decode_json, plain_text, real_number, shorten

FORMAT = 1
LATEST_S = 4e9  # since 1970: in the year 2096


@dataclass(frozen=True, kw_only=True)
class Lease:
    """``expires``: seconds since 1970. ``holder``: the client that watches, as ``user@host pid``; empty if none does. ``holder_id``: its ID,
    which no other process has, anywhere (process numbers are used again); empty if it is not known.

    ``deadlines``: seconds after each job's start. ``detached``: when the lease has expired, let running jobs finish.
    """

    batch: str
    renewed: datetime
    expires: float
    holder: str
    holder_id: str = ""
    detached: bool = False
    deadlines: Mapping[str, float] = field(default_factory=dict)

    def is_held_by(self, clients: Collection[str]) -> bool:
        """Return whether its holder is one of these, by ID; by name where the lease of an older version has no ID."""
        return bool(self.holder) and (self.holder_id or self.holder) in clients

    def is_same_watch(self, other: Lease) -> bool:
        """Return whether the same process holds both."""
        return (self.holder, self.holder_id) == (other.holder, other.holder_id)

    def renew(self, now: datetime, lease_s: float) -> Lease:
        """Return the same lease, starting now."""
        return replace(self, renewed=now, expires=now.timestamp() + lease_s)

    def restate(self, **changes: Any) -> Lease:
        """Return the lease with these changes, as written by a client that does not watch the batch: both times stay the holder's.

        So it keeps its length, which counts from this writing; one that nobody renews any more has none left.
        """
        is_kept = bool(self.holder) and not self.detached
        return replace(self, expires=self.expires if is_kept else self.renewed.timestamp(), **changes)

    def is_watched(self, now: datetime) -> bool:
        """Return whether it is held: it has a holder, and has not expired."""
        return bool(self.holder) and not self.detached and self.expires > now.timestamp()

    def as_json(self) -> bytes:
        """Return the content of the object in the bucket."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "batch": self.batch,
            "renewed": self.renewed.astimezone(UTC).isoformat(),
            "expires": self.expires,
            "detached": self.detached,
            "deadlines": dict(self.deadlines),
            "holder": self.holder,
            "holder_id": self.holder_id,
        }
        return json.dumps(values).encode()


@dataclass(frozen=True, kw_only=True)
class LeaseSight:
    """A lease as it was when it was read. ``left_s``: from that moment to its end, in seconds; negative after it."""

    lease: Lease
    left_s: float

    @property
    def is_over(self) -> bool:
        """Whether it has expired, because nobody renewed it."""
        return self.left_s <= 0

    @property
    def is_watched(self) -> bool:
        """Whether a client that has not detached holds it, and it is not over."""
        return bool(self.lease.holder) and not self.lease.detached and not self.is_over

    @property
    def jobs_left_s(self) -> float:
        """How long jobs may still run. When a lease is over they are stopped; if its client detached, those that run then may run
        until their deadlines, of which the last one counts here. If no deadline is known, the time is infinite.
        """
        if not self.lease.detached:
            return self.left_s
        return self.left_s + max(self.lease.deadlines.values(), default=math.inf)


def see_lease(lease: Lease, *, updated: datetime, served: datetime) -> LeaseSight:
    """Return a lease that was written at ``updated`` and read at ``served``, both by the storage server's clock.

    It is over when its age says so, as the VMs count it, or the end that its holder wrote: whichever comes first.
    """
    length_s = lease.expires - lease.renewed.timestamp()
    by_age_s = length_s - max(0.0, (served - updated).total_seconds())
    return LeaseSight(lease=lease, left_s=min(by_age_s, lease.expires - served.timestamp()))


def new_lease(batch: str, holder: str, now: datetime, lease_s: float, *, holder_id: str = "") -> Lease:
    """Return a lease that begins now."""
    expires = (now + timedelta(seconds=lease_s)).timestamp()
    return Lease(batch=batch, renewed=now, expires=expires, holder=holder, holder_id=holder_id)


def parse_lease(content: bytes) -> Lease:
    """Read what is in the bucket as a lease.

    Raises:
        ValueError: it is not a lease, or of a format that this version does not know.
    """
    try:
        values = decode_json(content)
    except ValueError as error:
        raise ValueError(f"a corrupt lease: {error}") from error
    return lease_of_values(values)


def lease_of_values(values: Mapping[str, Any]) -> Lease:
    """Read JSON values as a lease.

    Raises:
        ValueError: see ``parse_lease``.
    """
    try:
        if values["format"] != FORMAT:
            raise ValueError(f"a lease of format {shorten(values['format'])}; this version knows {FORMAT}")
        return Lease(
            batch=plain_text(values["batch"]),
            renewed=_aware(values["renewed"]),
            expires=real_number(values["expires"], most=LATEST_S),
            holder=plain_text(values.get("holder", "")),
            holder_id=plain_text(values.get("holder_id", "")),
            detached=bool(values.get("detached")),
            deadlines={job: real_number(seconds) for job, seconds in (values.get("deadlines") or {}).items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"a corrupt lease: {shorten(error)}") from error


def _aware(text: str) -> datetime:
    """Read a time that has a zone, so that it can be compared with ours."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    real_number(at.timestamp(), most=LATEST_S)
    return at
