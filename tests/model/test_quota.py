"""How many VMs fit into the quotas of a region."""

from __future__ import annotations

import pytest

from runner.model.catalog import MACHINE_TYPES
from runner.model.quota import RegionQuota, find_rooms

C2 = MACHINE_TYPES["c2-standard-8"]


def quotas(**limits: tuple[float, float]) -> list[RegionQuota]:
    return [RegionQuota(metric=metric, limit=limit, usage=usage) for metric, (limit, usage) in limits.items()]


@pytest.mark.parametrize(
    ("limits", "provisioning", "vms"),
    [
        ({"PREEMPTIBLE_CPUS": (64, 0), "CPUS": (8, 0)}, "spot", 8),
        ({"PREEMPTIBLE_CPUS": (64, 20), "CPUS": (8, 0)}, "spot", 5),
        ({"PREEMPTIBLE_CPUS": (0, 0), "CPUS": (24, 0)}, "spot", 3),
        ({"PREEMPTIBLE_CPUS": (64, 0), "CPUS": (24, 0)}, "standard", 3),
        ({"CPUS": (512, 0), "C2_CPUS": (16, 0)}, "standard", 2),
        ({"CPUS": (512, 0), "IN_USE_ADDRESSES": (8, 5)}, "standard", 3),
        ({"CPUS": (512, 0), "SSD_TOTAL_GB": (100, 10)}, "standard", 2),
        ({"CPUS": (512, 0), "INSTANCES": (1, 0)}, "standard", 1),
        ({"CPUS": (8, 16)}, "standard", 0),
    ],
)
def test_the_scarcest_quota_counts(limits: dict[str, tuple[float, float]], provisioning: str, vms: int) -> None:
    assert find_rooms(quotas(**limits), C2, provisioning, disk_gib=40)[0].vms == vms


def test_without_an_external_address_none_is_counted() -> None:
    given = quotas(CPUS=(80, 0), IN_USE_ADDRESSES=(1, 1))
    assert find_rooms(given, C2, "standard", disk_gib=40, external_ip=False)[0].vms == 10


def test_unknown_quotas_set_no_limit() -> None:
    assert find_rooms([], C2, "spot", disk_gib=40) == []


def test_the_scarcest_quota_is_described() -> None:
    rooms = find_rooms(quotas(CPUS=(20, 4), INSTANCES=(100, 0)), C2, "standard")
    assert str(rooms[0]) == "quota CPUS: 16 left of 20, a VM takes 8: room for 2 VMs"
