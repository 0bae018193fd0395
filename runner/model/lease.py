"""The lease of a batch: a small object in the bucket that says until when its VMs are wanted, and until when its jobs may run.

Whoever watches the batch renews it. The VMs read it (``packer/files/lib/opensees_hpc/lease.py``): they take its length from
here and its age from the storage server, so that nobody's clock has to be right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.model.foreign import decode_json, plain_text, real_number, shorten

FORMAT = 1
LATEST_S = 4e9  # since 1970: in the year 2096


@dataclass(frozen=True, kw_only=True)
class Lease:
    """``expires``: seconds since 1970. ``holder``: who watches, as ``user@host pid``; empty for nobody.

    ``deadlines``: seconds after each job's start. ``detached``: when the lease has run out, let running jobs come to their end.
    """

    batch: str
    renewed: datetime
    expires: float
    holder: str
    detached: bool = False
    deadlines: Mapping[str, float] = field(default_factory=dict)

    def renew(self, now: datetime, lease_s: float) -> Lease:
        """The same lease, from now on."""
        return replace(self, renewed=now, expires=now.timestamp() + lease_s)

    def restate(self, **changes: Any) -> Lease:
        """The lease with these changes, as somebody writes it who does not watch the batch: both its times stay the holder's.

        So it keeps its length, which counts from this writing; one that nobody renews any more has none left.
        """
        is_kept = bool(self.holder) and not self.detached
        return replace(self, expires=self.expires if is_kept else self.renewed.timestamp(), **changes)

    def is_watched(self, now: datetime) -> bool:
        """Whether somebody else has it: it has a holder, and has not run out."""
        return bool(self.holder) and not self.detached and self.expires > now.timestamp()

    def as_json(self) -> bytes:
        """As it is in the bucket."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "batch": self.batch,
            "renewed": self.renewed.astimezone(UTC).isoformat(),
            "expires": self.expires,
            "detached": self.detached,
            "deadlines": dict(self.deadlines),
            "holder": self.holder,
        }
        return json.dumps(values).encode()


def new_lease(batch: str, holder: str, now: datetime, lease_s: float) -> Lease:
    """A lease that begins now."""
    return Lease(batch=batch, renewed=now, expires=(now + timedelta(seconds=lease_s)).timestamp(), holder=holder)


def parse_lease(content: bytes) -> Lease:
    """What is in the bucket, as a lease.

    Raises:
        ValueError: it is none, or of a format that this version does not know.
    """
    try:
        values: dict[str, Any] = decode_json(content)
        if values["format"] != FORMAT:
            raise ValueError(f"a lease of format {shorten(values['format'])}; this version knows {FORMAT}")
        return Lease(
            batch=plain_text(values["batch"]),
            renewed=_aware(values["renewed"]),
            expires=real_number(values["expires"], most=LATEST_S),
            holder=plain_text(values.get("holder", "")),
            detached=bool(values.get("detached")),
            deadlines={job: real_number(seconds) for job, seconds in (values.get("deadlines") or {}).items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"a damaged lease: {shorten(error)}") from error


def _aware(text: str) -> datetime:
    """A time that can be compared with ours, whatever is asked of it."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} is in no time zone")
    real_number(at.timestamp(), most=LATEST_S)
    return at
