"""``invoke extend``: give running jobs more time, from any computer.

Only the lease is rewritten. The watchdog on each VM reads it and moves the deadlines of the jobs there; a client that watches
the batch reads it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.commands.arguments import check_batch_name
from runner.context import Context
from runner.errors import CloudError, InputError
from runner.google import Instance
from runner.lease import change_lease, read_lease
from runner.model import names
from runner.model.deadline import Deadline
from runner.model.foreign import decode_json, plain_text, real_number, shorten
from runner.model.lease import Lease

MOST_MINUTES = 366 * 24 * 60.0  # longer than Google lets a VM run


@dataclass(frozen=True, kw_only=True)
class Extension:
    """``deadlines``: of the jobs that were moved, in s after each one's start. ``vms_end``: when ``maxRunDuration`` ends the first VM; None if it does not."""

    batch: str
    minutes: float
    deadlines: Mapping[str, float]
    vms_end: datetime | None

    def __str__(self) -> str:
        moved = (
            f"job {name}: at most {seconds / 60:.0f} min from its start" for name, seconds in self.deadlines.items()
        )
        vms_end = (
            ""
            if self.vms_end is None
            else f"its first VM ends at {_shown(self.vms_end)} at the latest (maxRunDuration)"
        )
        return "\n".join(line for line in (*moved, vms_end) if line)

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "batch": self.batch,
            "minutes": self.minutes,
            "deadlines_s": dict(self.deadlines),
            "vms_end_at": _shown(self.vms_end),
        }


def read_minutes(text: str) -> float:
    """Read a number of minutes as the user typed it.

    Raises:
        InputError: it is not one.
    """
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < abs(minutes) <= MOST_MINUTES:
        message = f"{shorten(text)} is not a number of minutes, at most {MOST_MINUTES:.0f} and not 0"
        raise InputError(message, remedy="for example: --minutes 30")
    return minutes


def execute(context: Context, *, batch: str, minutes: float, job: str = "") -> Extension:
    """Move the deadlines of a batch's jobs, or of one, by this many minutes. The batch ends when its last job does.

    Raises:
        InputError: nothing runs under that name, no job has that name, or the VMs end before; nothing was moved.
    """
    check_batch_name(batch)
    context.cloud.open()
    instances = context.cloud.compute.instances(names.labels_of_batch(batch))
    if not instances:
        raise InputError(f"batch {batch} has no VMs: no running job to extend", remedy="see `invoke status`")
    now = context.now()
    vms_end = min((instance.ends for instance in instances if instance.ends is not None), default=None)
    _check_vms_end(batch, now + timedelta(minutes=minutes), vms_end)
    timeouts = _read_timeouts(context, batch)

    def move(lease: Lease) -> Lease:
        known = timeouts | dict(lease.deadlines)
        if job and job not in known:
            raise InputError(
                f"batch {batch} has no job {job!r} with a deadline", remedy=f"its jobs: {', '.join(known)}"
            )
        meant = {name: limit_s for name, limit_s in known.items() if job in ("", name)}
        return lease.restate(
            deadlines={**lease.deadlines, **_move(meant, minutes, longest_s=_longest_run_s(instances))}
        )

    if read_lease(context.cloud.results, batch) is None:
        raise InputError(f"batch {batch} has no lease, so its deadlines cannot be changed")
    lease = change_lease(context.cloud.results, batch, move)
    return Extension(
        batch=batch,
        minutes=minutes,
        deadlines={name: seconds for name, seconds in lease.deadlines.items() if job in ("", name)},
        vms_end=vms_end,
    )


def _move(deadlines: Mapping[str, float], minutes: float, *, longest_s: float | None) -> dict[str, float]:
    """Return the new deadlines; a job that began with its VM cannot outlast the VM either."""
    moved = {name: Deadline(limit_s, longest_s=longest_s, of=f"job {name}") for name, limit_s in deadlines.items()}
    for deadline in moved.values():
        deadline.extend(minutes)
    return {name: deadline.limit_s for name, deadline in moved.items()}


def _check_vms_end(batch: str, at: datetime, vms_end: datetime | None) -> None:
    if vms_end is not None and at > vms_end:
        beyond_min = (at - vms_end).total_seconds() / 60
        raise InputError(
            f"batch {batch} cannot run until {_shown(at)}: its VMs end at {_shown(vms_end)} (maxRunDuration), "
            f"{beyond_min:.0f} minutes earlier, and that cannot be moved while they run",
            remedy="extend by less, or run the unfinished jobs again with a longer timeout_min",
        )


def _longest_run_s(instances: Sequence[Instance]) -> float | None:
    """Return the longest time that a VM runs, in s; None if one has no limit."""
    runs = [_run_s(instance) for instance in instances]
    return None if None in runs else max(run_s for run_s in runs if run_s is not None)


def _run_s(instance: Instance) -> float | None:
    if instance.ends is None or not instance.created:
        return None
    return (instance.ends - datetime.fromisoformat(instance.created)).total_seconds()


def _read_timeouts(context: Context, batch: str) -> dict[str, float]:
    """Read the deadlines that the jobs were given in the jobs file."""
    found = context.cloud.results.get_control(batch, names.DEFINITION)
    if found is None:
        return {}
    try:
        jobs = decode_json(found.content)["jobs"]
        return {
            plain_text(job["name"]): real_number(job["timeout_s"]) for job in jobs if job.get("timeout_s") is not None
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CloudError(f"the definition of batch {batch} in the bucket is corrupt: {shorten(error)}") from error


def _shown(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
