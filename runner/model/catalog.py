"""Machine types that jobs run on, with the prices from which a cost ceiling is calculated. Data only, no I/O.

Source: https://cloud.google.com/compute/vm-instance-pricing and https://cloud.google.com/vpc/network-pricing, list prices
on demand, us-central1, USD, November 2026; h3-standard-88 there too. Other regions cost up to a third more. A spot VM never
costs more than the same VM on demand (https://cloud.google.com/compute/docs/instances/spot), so the on-demand price is the
ceiling for both. Cores are physical: one OpenSees rank keeps one of them busy, and a second hyper-thread adds little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PRICE_REGION = "us-central1"
PRICE_DATE = "2026-11"
EXTERNAL_ADDRESS_USD_PER_HOUR = 0.005
IDLE_ADDRESS_USD_PER_HOUR = 0.01  # one that is reserved, but used by no VM
DISK_USD_PER_GIB_HOUR = 0.10 / 730  # pd-balanced, list price by the month of 730 hours
LONGEST_RUN_S = 120 * 86400  # maxRunDuration: https://cloud.google.com/compute/docs/instances/limit-vm-runtime


@dataclass(frozen=True, kw_only=True)
class MachineType:
    """A Compute Engine machine type. ``cores`` are physical cores, ``price_usd_per_hour`` is on demand."""

    name: str
    vcpus: int
    cores: int
    ram_gib: float
    price_usd_per_hour: float


def _family(
    prefix: str, sizes: Iterable[int], *, ram_per_vcpu_gib: float, usd_per_vcpu_hour: float
) -> list[MachineType]:
    """Return the sizes of a family whose vCPUs are hyper-threads, two to a core, and whose price is proportional."""
    return [
        MachineType(
            name=f"{prefix}-{vcpus}",
            vcpus=vcpus,
            cores=max(1, vcpus // 2),
            ram_gib=vcpus * ram_per_vcpu_gib,
            price_usd_per_hour=round(vcpus * usd_per_vcpu_hour, 4),
        )
        for vcpus in sizes
    ]


MACHINE_TYPES: dict[str, MachineType] = {
    machine.name: machine
    for machine in [
        *_family("e2-standard", (2, 4, 8, 16, 32), ram_per_vcpu_gib=4, usd_per_vcpu_hour=0.0335),
        *_family("n2-standard", (2, 4, 8, 16, 32, 48, 64, 80), ram_per_vcpu_gib=4, usd_per_vcpu_hour=0.04856),
        *_family("c2-standard", (4, 8, 16, 30, 60), ram_per_vcpu_gib=4, usd_per_vcpu_hour=0.0522),
        MachineType(name="h3-standard-88", vcpus=88, cores=88, ram_gib=352, price_usd_per_hour=4.9236),
    ]
}
DEFAULT_MACHINE_TYPE = "c2-standard-4"
LARGEST_CORES = max(machine.cores for machine in MACHINE_TYPES.values())


def smallest_with(cores: int, *, at_least: MachineType) -> MachineType:
    """Return the cheapest machine type with this many cores: ``at_least`` itself if it has them.

    Raises:
        ValueError: no machine type has this many.
    """
    if at_least.cores >= cores:
        return at_least
    fitting = [machine for machine in MACHINE_TYPES.values() if machine.cores >= cores]
    if not fitting:
        raise ValueError(f"no machine type has {cores} cores; the largest has {LARGEST_CORES}")
    return min(fitting, key=lambda machine: machine.price_usd_per_hour)
