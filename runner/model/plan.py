"""The plan of a batch: how many VMs of which type, for how long at most, at what cost at most. Pure.

A VM's ``maxRunDuration`` is the time that the whole batch would take if every job ran to its deadline, plus slack; the
cost ceiling is every VM for all of that time at the on-demand price. The true cost is far below it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from runner.errors import InputError, InputProblem
from runner.model import catalog, names
from runner.model.batch import Batch, Job
from runner.model.catalog import MachineType
from runner.model.settings import Settings

BOOT_SLACK_S = 15 * 60.0  # boot, upload, last push
SHORTEST_RUN_S = 30 * 60.0
DAY_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be created for a batch. ``disk_gib`` is the disk of one VM, ``ceiling_usd`` what all of them can cost at most."""

    batch: str
    jobs: tuple[Job, ...]
    machine: MachineType
    provisioning: str
    fallback: str
    max_vms: int
    instances: tuple[str, ...]
    zone: str
    max_run_s: int
    disk_gib: int
    ceiling_usd: float

    def with_most(self, vms: int) -> Plan:
        """Return the same plan with fewer VMs at once; the ceiling of each VM stays the same."""
        share = vms / len(self.instances)
        return replace(self, max_vms=vms, instances=self.instances[:vms], ceiling_usd=share * self.ceiling_usd)

    @property
    def price_usd_per_hour(self) -> float:
        """The price of all VMs together, on demand."""
        return len(self.instances) * hourly_price(self.machine, self.disk_gib)


def hourly_price(machine: MachineType, disk_gib: int) -> float:
    """Return the price of one VM with its disk and external address, in USD an hour, on demand."""
    return machine.price_usd_per_hour + catalog.EXTERNAL_ADDRESS_USD_PER_HOUR + disk_gib * catalog.DISK_USD_PER_GIB_HOUR


def price_per_hour(machine_type: str, *, disk_gib: int, is_off: bool = False) -> float | None:
    """Return USD an hour at most; None for a machine type that the catalogue does not have. A stopped VM's disk still costs money."""
    if is_off:
        return round(disk_gib * catalog.DISK_USD_PER_GIB_HOUR, 4)
    machine = catalog.MACHINE_TYPES.get(machine_type)
    return None if machine is None else round(hourly_price(machine, disk_gib), 4)


def make_plan(
    batch: Batch, settings: Settings, *, name: str, most_vms: int | None = None, least_disk_gib: int = 0
) -> Plan:
    """Plan ``batch`` under the name ``name``, on ``most_vms`` VMs at most (None: as many as the file allows).

    The machine type is that of the file, else that of the settings, or the cheapest that has enough cores for the widest job.
    ``least_disk_gib``: what the image needs, if that is known.

    Raises:
        InputError: the batch may take longer than Google lets a VM run.
    """
    widest = max(job.np for job in batch.jobs)
    preferred = catalog.MACHINE_TYPES[settings.machine_type]
    machine = (
        catalog.MACHINE_TYPES[batch.machines.type]
        if batch.machines.type
        else catalog.smallest_with(widest, at_least=preferred)
    )
    vms = min(batch.machines.max_vms, vms_needed([job.np for job in batch.jobs], machine.cores))
    vms = vms if most_vms is None else min(vms, most_vms)
    run_s = longest_makespan_s(batch.jobs, vms=vms, cores=machine.cores) + BOOT_SLACK_S
    if run_s > catalog.LONGEST_RUN_S:
        raise InputError([_too_long(batch, run_s, vms)])
    max_run_s = math.ceil(max(SHORTEST_RUN_S, run_s))
    disk_gib = max(settings.disk_gib, least_disk_gib)
    return Plan(
        batch=name,
        jobs=batch.jobs,
        machine=machine,
        provisioning=batch.machines.provisioning,
        fallback=batch.machines.fallback,
        max_vms=vms,
        instances=tuple(names.instance_name(name, index) for index in range(vms)),
        zone=settings.zones_to_try[0],
        max_run_s=max_run_s,
        disk_gib=disk_gib,
        ceiling_usd=vms * hourly_price(machine, disk_gib) * max_run_s / 3600,
    )


def _too_long(batch: Batch, run_s: float, vms: int) -> InputProblem:
    return batch.source.problem(
        ("machines", "max_vms"),
        f"{len(batch.jobs)} jobs may take {run_s / DAY_S:.1f} days on {vms} VM{'s' * (vms != 1)} if each runs to its timeout_min; "
        f"Google ends a VM after {catalog.LONGEST_RUN_S / DAY_S:.0f} days",
        "allow more VMs (machines.max_vms, and the quota for them), lower timeout_min, or split it into several batches",
    )


def vms_needed(widths: Sequence[int], cores: int) -> int:
    """Return how many VMs hold all jobs at once: first fit, widest first. Never more than there are jobs."""
    free: list[int] = []
    for width in sorted(widths, reverse=True):
        fitting = next((index for index, room in enumerate(free) if room >= width), None)
        if fitting is None:
            free.append(cores - width)
        else:
            free[fitting] -= width
    return len(free)


def longest_makespan_s(jobs: Sequence[Job], *, vms: int, cores: int) -> float:
    """Return when the last job ends if each runs to its deadline, first come, first served, in s from the first start."""
    free = [cores] * vms
    running: list[tuple[float, int, int]] = []
    now = 0.0
    for job in jobs:
        while not (fitting := [vm for vm, room in enumerate(free) if room >= job.np]):
            now, vm, width = heapq.heappop(running)
            free[vm] += width
        free[fitting[0]] -= job.np
        heapq.heappush(running, (now + job.timeout_s, fitting[0], job.np))
    return max((end for end, _, _ in running), default=now)


def next_name(wanted: str, taken: Collection[str]) -> str:
    """Return ``wanted``, or the first of ``wanted-2``, ``wanted-3``… that is not taken. A batch's name is used once."""
    if wanted not in taken:
        return wanted
    number = 2
    while (candidate := f"{wanted[: 39 - len(str(number))].rstrip('-')}-{number}") in taken:
        number += 1
    return candidate
