"""A zone has no capacity: the VM is created in another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.faults.cloud_control import CloudControl

pytestmark = pytest.mark.xdist_group("faults")


def test_the_next_zone_after_a_stockout(site: Site, tmp_path: Path) -> None:
    site.status()  # this starts the cloud
    control = CloudControl(site)
    fault = {
        "kind": "stockout",
        "match": "europe-west4-a",
        "times": None,
        "details": True,
        "zones_available": ["europe-west4-c"],
    }
    control.arm(fault)
    try:
        batch = site.run_batch(Path("jobs/smoke.yaml"), tmp_path / "results")
    finally:
        control.clear_faults()
    assert batch.exit_code == 0, batch.events[-3:]
    warnings = [event["message"] for event in batch.events if event["event"] == "warning"]
    assert any("does not have enough resources" in text and "europe-west4-c" in text for text in warnings)
