"""The lease of a batch as a VM sees it: its content, and the VM's duty that follows from it. Pure, except for reading it.

Clocks: the length of a lease is the difference of two times of its writer's clock, its age the difference of two times of
the storage server's clock, and between two reads the VM's monotonic clock counts. No two clocks are ever compared.
"""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from .shared_names import CONTROL_PREFIX, LEASE
from .vm_cloud import RefusedError, Reply

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Lease:
    """``length_s``: from renewal to expiry. ``deadlines``: seconds after each job's start."""

    length_s: float
    is_detached: bool
    deadlines: Mapping[str, float]


class Duty(Enum):
    """What a VM has to do. DRAIN: let running jobs end, then delete itself. END: stop running jobs, then delete itself."""

    WORK = "work"
    DRAIN = "drain"
    END = "end"


class Storage(Protocol):
    """The storage that has the lease (``vm_cloud.VmCloud``)."""

    def read_object(self, bucket: str, name: str, **query: str) -> Reply: ...


def parse_lease(content: bytes) -> Lease:
    """Parse a lease. Raise ValueError if it is malformed, or of a format that this image does not know."""
    try:
        values: dict[str, Any] = json.loads(content)
        if values["format"] != FORMAT:
            raise ValueError(f"a lease of format {values['format']!r}; this image knows {FORMAT}")
        renewed = datetime.fromisoformat(values["renewed"]).timestamp()
        return Lease(
            length_s=_finite(values["expires"]) - renewed,
            is_detached=bool(values.get("detached")),
            deadlines={str(job): _finite(seconds) for job, seconds in (values.get("deadlines") or {}).items()},
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"a damaged lease: {error!r}") from error


def _finite(value: Any) -> float:
    """Return a finite number; Python's JSON also accepts ``Infinity`` and ``NaN``."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a time")
    return number


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A lease that was read, and how long ago it was renewed, by the server's clock."""

    lease: Lease
    age_s: float


class LeaseReader:
    """Reads one lease; its content only when it has changed. Each call costs one small request."""

    def __init__(self, storage: Storage, bucket: str, batch: str) -> None:
        self._storage = storage
        self._bucket = bucket
        self._name = f"{CONTROL_PREFIX}/{batch}/{LEASE}"
        self._generation = ""
        self._lease: Lease | None = None

    def look(self) -> Sight | None:
        """Return the lease as it is now, None if there is none.

        Raises:
            UnreachableError, RefusedError: it could not be read.
            ValueError: its content cannot be understood.
        """
        try:
            reply = self._storage.read_object(self._bucket, self._name, fields="generation,updated")
            about: dict[str, Any] = json.loads(reply.body)
            generation = str(about["generation"])
            if self._lease is None or generation != self._generation:
                content = self._storage.read_object(self._bucket, self._name, alt="media", generation=generation)
                self._lease, self._generation = parse_lease(content.body), generation
        except RefusedError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise
        except (KeyError, TypeError) as error:
            raise ValueError(f"the storage server describes the lease as {about!r}") from error
        if reply.served_s is None:
            raise ValueError("the storage server does not say what time it is")
        updated = datetime.fromisoformat(str(about["updated"])).timestamp()
        return Sight(lease=self._lease, age_s=max(0.0, reply.served_s - updated))


class LeaseWatch:
    """The lease as last read, and what follows from it. Times are of one monotonic clock."""

    def __init__(self, *, grace_s: float, now: float) -> None:
        self._grace_s = grace_s
        self._known_until = now + grace_s
        self._unreadable_since: float | None = None
        self.lease: Lease | None = None

    def see(self, sight: Sight, now: float) -> None:
        """Record that the lease was read."""
        lease = sight.lease
        self.lease = lease
        self._unreadable_since = None
        self._known_until = now + lease.length_s - sight.age_s

    def miss(self) -> None:
        """Record that the lease does not exist: its last known expiry counts, or the grace period after boot."""
        self._unreadable_since = None

    def fail(self, now: float) -> None:
        """Record that the lease could not be read, which does not mean that it has expired."""
        if self._unreadable_since is None:
            self._unreadable_since = now

    def left_s(self, now: float) -> float:
        """Return how long the VM is still needed, in seconds, as far as is known."""
        until = self._known_until
        if self._unreadable_since is not None:
            until = max(until, self._unreadable_since + self._grace_s)
        return until - now

    def duty(self, now: float) -> Duty:
        """Return what the VM has to do."""
        if self.left_s(now) > 0:
            return Duty.WORK
        if self.lease is None or not self.lease.is_detached:
            return Duty.END
        return Duty.DRAIN
