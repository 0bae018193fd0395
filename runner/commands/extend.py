"""``invoke extend``: give running jobs more time, from any machine.

Only the lease is rewritten. The watchdog on each VM reads it and moves the deadlines of the jobs there; a client that watches
the batch reads it too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.commands.context import Context
from runner.commands.definition import DEFINITION
from runner.core.compute import Instance
from runner.core.lease import change_lease, read_lease
from runner.errors import CloudError, InputError
from runner.model import names
from runner.model.lease import Lease


@dataclass(frozen=True, kw_only=True)
class Extension:
    """``deadlines``: of the jobs that were moved, in s after each one's start. ``wall``: when the cloud ends the first VM; None if it does not."""

    batch: str
    minutes: float
    deadlines: Mapping[str, float]
    batch_deadline: datetime | None
    wall: datetime | None

    def __str__(self) -> str:
        moved = (
            f"job {name}: at most {seconds / 60:.0f} min from its start" for name, seconds in self.deadlines.items()
        )
        end = "" if self.batch_deadline is None else f"the batch ends at {_shown(self.batch_deadline)}"
        wall = (
            "" if self.wall is None else f"whatever happens, its first VM ends at {_shown(self.wall)} (maxRunDuration)"
        )
        return "\n".join(line for line in (*moved, end, wall) if line)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "batch": self.batch,
            "minutes": self.minutes,
            "deadlines_s": dict(self.deadlines),
            "batch_deadline": _shown(self.batch_deadline),
            "vms_end_at": _shown(self.wall),
        }


def read_minutes(text: str) -> float:
    """A number of minutes as somebody typed it.

    Raises:
        InputError: it is none.
    """
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not math.isfinite(minutes) or minutes == 0:
        raise InputError(f"{text!r} is no number of minutes", remedy="for example: --minutes 30")
    return minutes


def execute(context: Context, *, batch: str, minutes: float, job: str = "") -> Extension:
    """Move the deadlines of a batch's jobs (or of one), and of the batch if it has one, by so many minutes.

    Raises:
        InputError: nothing runs under that name, there is no such job, or the VMs end before; nothing was moved.
    """
    context.cloud.open()
    instances = context.cloud.compute.instances(names.labels_of_batch(batch))
    if not instances:
        raise InputError(f"batch {batch} has no VMs: nothing runs that could be extended", remedy="see `invoke status`")
    now = context.now()
    wall = min((instance.ends for instance in instances if instance.ends is not None), default=None)
    _check_wall(batch, now + timedelta(minutes=minutes), wall)
    timeouts = _read_timeouts(context, batch)

    def move(lease: Lease) -> Lease:
        moved = _move(timeouts | dict(lease.deadlines), batch, job, 60 * minutes)
        _check_jobs(moved, instances)
        at = lease.batch_deadline
        if at is not None and not job:
            at += 60 * minutes
            _check_wall(batch, datetime.fromtimestamp(at, UTC), wall)
        return lease.restate(deadlines={**lease.deadlines, **moved}, batch_deadline=at)

    if read_lease(context.cloud.results, batch) is None:
        raise InputError(f"batch {batch} has no lease, so its VMs cannot be told of another deadline")
    lease = change_lease(context.cloud.results, batch, move)
    return Extension(
        batch=batch,
        minutes=minutes,
        deadlines={name: seconds for name, seconds in lease.deadlines.items() if job in ("", name)},
        batch_deadline=None if lease.batch_deadline is None else datetime.fromtimestamp(lease.batch_deadline, UTC),
        wall=wall,
    )


def _move(known: Mapping[str, float], batch: str, job: str, seconds: float) -> dict[str, float]:
    """The new deadlines of all jobs, or of the one that is meant."""
    if job and job not in known:
        raise InputError(f"batch {batch} has no job {job!r} with a deadline", remedy=f"its jobs: {', '.join(known)}")
    return {name: limit_s + seconds for name, limit_s in known.items() if job in ("", name)}


def _check_wall(batch: str, at: datetime, wall: datetime | None) -> None:
    if wall is not None and at > wall:
        beyond_min = (at - wall).total_seconds() / 60
        raise InputError(
            f"batch {batch} cannot go on until {_shown(at)}: its VMs end at {_shown(wall)} (maxRunDuration), "
            f"{beyond_min:.0f} minutes earlier, and that cannot be moved while they run",
            remedy="extend by less, or run what is not done by then again, with a longer timeout_min",
        )


def _check_jobs(deadlines: Mapping[str, float], instances: list[Instance]) -> None:
    """A job that was there since its VM began cannot go on after the VM's end either."""
    longest_s = max((_run_s(instance) for instance in instances), default=float("inf"))
    late = sorted(name for name, seconds in deadlines.items() if seconds > longest_s)
    if late:
        raise InputError(
            f"{', '.join(late)}: no VM of this batch runs for more than {longest_s / 60:.0f} minutes (maxRunDuration), "
            f"so no job can have {deadlines[late[0]] / 60:.0f} minutes",
            remedy="extend by less",
        )


def _run_s(instance: Instance) -> float:
    if instance.ends is None or not instance.created:
        return float("inf")
    return (instance.ends - datetime.fromisoformat(instance.created)).total_seconds()


def _read_timeouts(context: Context, batch: str) -> dict[str, float]:
    """The deadlines that the jobs were given in the jobs file."""
    found = context.cloud.results.get_control(batch, DEFINITION)
    if found is None:
        return {}
    try:
        jobs = json.loads(found.content)["jobs"]
        return {str(job["name"]): float(job["timeout_s"]) for job in jobs if job.get("timeout_s") is not None}
    except (KeyError, TypeError, ValueError) as error:
        raise CloudError(f"the definition of batch {batch} in the bucket is damaged: {error!r}") from error


def _shown(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
