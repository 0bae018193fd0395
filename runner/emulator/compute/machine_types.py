"""The machine and disk types of the cloud: vCPUs and memory, as data.

Source: Google's page of machine families (general purpose, compute optimised), read 2026-11. ``threads per core`` is 2
except where a family has one thread a vCPU (t2d, h3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.emulator.state import Document
from runner.emulator.wire import link


@dataclass(frozen=True, kw_only=True)
class MachineShape:
    """A machine type: ``memory_mib`` as the API gives it."""

    vcpus: int
    memory_mib: int
    cpu_platform: str


@dataclass(frozen=True, kw_only=True)
class _Series:
    """Sizes of one series; ``gib_per_vcpu`` by class (standard, highmem, highcpu)."""

    sizes: tuple[int, ...]
    gib_per_vcpu: Mapping[str, float]
    cpu_platform: str


_SERIES: Mapping[str, _Series] = {
    "c2": _Series(sizes=(4, 8, 16, 30, 60), gib_per_vcpu={"standard": 4}, cpu_platform="Intel Cascade Lake"),
    "c2d": _Series(
        sizes=(2, 4, 8, 16, 32, 56, 112),
        gib_per_vcpu={"standard": 4, "highmem": 8, "highcpu": 2},
        cpu_platform="AMD Milan",
    ),
    "c3": _Series(
        sizes=(4, 8, 22, 44, 88, 176),
        gib_per_vcpu={"standard": 4, "highmem": 8, "highcpu": 2},
        cpu_platform="Intel Sapphire Rapids",
    ),
    "c3d": _Series(
        sizes=(4, 8, 16, 30, 60, 90, 180, 360),
        gib_per_vcpu={"standard": 4, "highmem": 8, "highcpu": 2},
        cpu_platform="AMD Genoa",
    ),
    "c4": _Series(
        sizes=(2, 4, 8, 16, 24, 32, 48, 96, 144, 192, 288),
        gib_per_vcpu={"standard": 3.75, "highmem": 7.75, "highcpu": 2},
        cpu_platform="Intel Emerald Rapids",
    ),
    "e2": _Series(
        sizes=(2, 4, 8, 16, 32),
        gib_per_vcpu={"standard": 4, "highmem": 8, "highcpu": 1},
        cpu_platform="Intel Broadwell",
    ),
    "h3": _Series(sizes=(88,), gib_per_vcpu={"standard": 4}, cpu_platform="Intel Sapphire Rapids"),
    "n1": _Series(
        sizes=(1, 2, 4, 8, 16, 32, 64, 96),
        gib_per_vcpu={"standard": 3.75, "highmem": 6.5, "highcpu": 0.9},
        cpu_platform="Intel Haswell",
    ),
    "n2": _Series(
        sizes=(2, 4, 8, 16, 32, 48, 64, 80, 96, 128),
        gib_per_vcpu={"standard": 4, "highmem": 8, "highcpu": 1},
        cpu_platform="Intel Cascade Lake",
    ),
    "n2d": _Series(
        sizes=(2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224),
        gib_per_vcpu={"standard": 4, "highmem": 8, "highcpu": 1},
        cpu_platform="AMD Milan",
    ),
    "t2d": _Series(sizes=(1, 2, 4, 8, 16, 32, 48, 60), gib_per_vcpu={"standard": 4}, cpu_platform="AMD Milan"),
}

_SHARED_CORE: Mapping[str, MachineShape] = {
    "e2-micro": MachineShape(vcpus=2, memory_mib=1024, cpu_platform="Intel Broadwell"),
    "e2-small": MachineShape(vcpus=2, memory_mib=2048, cpu_platform="Intel Broadwell"),
    "e2-medium": MachineShape(vcpus=2, memory_mib=4096, cpu_platform="Intel Broadwell"),
    "f1-micro": MachineShape(vcpus=1, memory_mib=614, cpu_platform="Intel Haswell"),
    "g1-small": MachineShape(vcpus=1, memory_mib=1740, cpu_platform="Intel Haswell"),
}

DISK_TYPES: Mapping[str, tuple[int, int]] = {
    "pd-standard": (10, 65536),
    "pd-balanced": (10, 65536),
    "pd-ssd": (10, 65536),
    "pd-extreme": (500, 65536),
    "hyperdisk-balanced": (4, 65536),
}
SSD_DISK_TYPES = frozenset({"pd-balanced", "pd-ssd", "pd-extreme", "hyperdisk-balanced"})


def _shapes() -> Iterator[tuple[str, MachineShape]]:
    for series, facts in _SERIES.items():
        for kind, gib in facts.gib_per_vcpu.items():
            for size in facts.sizes:
                shape = MachineShape(vcpus=size, memory_mib=int(size * gib * 1024), cpu_platform=facts.cpu_platform)
                yield f"{series}-{kind}-{size}", shape
    yield from _SHARED_CORE.items()


MACHINE_TYPES: Mapping[str, MachineShape] = dict(_shapes())


def machine_type_document(project: str, zone: str, name: str) -> Document:
    shape = MACHINE_TYPES[name]
    return {
        "kind": "compute#machineType",
        "id": str(1000 + list(MACHINE_TYPES).index(name)),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": name,
        "description": f"{shape.vcpus} vCPUs, {shape.memory_mib / 1024:g} GB RAM",
        "guestCpus": shape.vcpus,
        "memoryMb": shape.memory_mib,
        "architecture": "X86_64",
        "isSharedCpu": name in _SHARED_CORE,
        "maximumPersistentDisks": 128,
        "maximumPersistentDisksSizeGb": "263168",
        "zone": zone,
        "selfLink": link(f"projects/{project}/zones/{zone}/machineTypes/{name}"),
    }


def disk_type_document(project: str, zone: str, name: str) -> Document:
    least_gb, most_gb = DISK_TYPES[name]
    return {
        "kind": "compute#diskType",
        "id": str(3000 + list(DISK_TYPES).index(name)),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": name,
        "description": f"{name} persistent disk",
        "validDiskSize": f"{least_gb}GB-{most_gb}GB",
        "defaultDiskSizeGb": "100" if least_gb <= 100 else str(least_gb),
        "zone": link(f"projects/{project}/zones/{zone}"),
        "selfLink": link(f"projects/{project}/zones/{zone}/diskTypes/{name}"),
    }
