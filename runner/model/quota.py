"""Quotas of a region, and how many VMs fit into what is left of them. Pure.

Which quota counts for what: https://cloud.google.com/compute/resource-usage (read 2026-11). Families with a quota of their
own (``C2_CPUS``, ``N2_CPUS``…) do not count as ``CPUS``; spot VMs count as ``PREEMPTIBLE_CPUS``, or, where that quota is
zero, as VMs on demand do. ``pd-balanced`` disks count as ``SSD_TOTAL_GB``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.model.catalog import MachineType

SPOT_CPUS = "PREEMPTIBLE_CPUS"
CPUS = "CPUS"


@dataclass(frozen=True, kw_only=True)
class RegionQuota:
    """One quota: its limit and how much of it is used, in the metric's own unit (vCPUs, GB, count)."""

    metric: str
    limit: float
    usage: float

    @property
    def room(self) -> float:
        """How much is left."""
        return max(0.0, self.limit - self.usage)


@dataclass(frozen=True, kw_only=True)
class QuotaRoom:
    """How many VMs one quota has room for. ``each``: how much of it one VM uses."""

    quota: RegionQuota
    each: float

    @property
    def vms(self) -> int:
        """Whole VMs."""
        return int(self.quota.room // self.each)

    def __str__(self) -> str:
        quota = self.quota
        return (
            f"quota {quota.metric}: {quota.room:g} left of {quota.limit:g}, a VM takes {self.each:g}: "
            f"room for {self.vms} VM{'s' * (self.vms != 1)}"
        )


def find_rooms(
    quotas: Sequence[RegionQuota],
    machine: MachineType,
    provisioning: str,
    *,
    disk_gib: int = 0,
    external_ip: bool = True,
) -> list[QuotaRoom]:
    """Return the room that each quota leaves, scarcest first. A metric that the region does not report sets no limit."""
    by_metric = {quota.metric: quota for quota in quotas}
    needs = {
        "INSTANCES": 1.0,
        "SSD_TOTAL_GB": float(disk_gib),
        "IN_USE_ADDRESSES": float(external_ip),
        _cpu_metric(by_metric, machine, provisioning): float(machine.vcpus),
    }
    rooms = [
        QuotaRoom(quota=by_metric[metric], each=each) for metric, each in needs.items() if metric in by_metric and each
    ]
    return sorted(rooms, key=lambda room: room.vms)


def _cpu_metric(by_metric: Mapping[str, RegionQuota], machine: MachineType, provisioning: str) -> str:
    if provisioning == "spot" and by_metric.get(SPOT_CPUS) and by_metric[SPOT_CPUS].limit > 0:
        return SPOT_CPUS
    own = f"{machine.name.split('-')[0].upper()}_CPUS"
    return own if own in by_metric else CPUS
