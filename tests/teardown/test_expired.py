"""What has expired is reported as `cleanup` would have it, by every command, from every computer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.commands import cleanup, status
from runner.options.batches import Cleanup
from runner.recovery.report import report_abandoned_batches
from tests.support.cloud_inventory import BUCKET, ME, PROJECT, Inventory, at, gone
from tests.support.command_site import CommandSite


def test_an_orphan_is_found_long_before_its_maxrunduration_and_from_any_computer(
    inventory: Inventory, tmp_path: Path
) -> None:
    """A client died while its VMs were created: one may not delete itself, one could only switch itself off."""
    inventory.bucket(BUCKET, ME)
    for batch in ("orphan", "alone", "drained", "alive", "off"):
        inventory.vm(f"{batch}-0", ME, batch=batch, expires=at(1))
        inventory.disk(f"{batch}-data", ME, batch=batch, expires=at(1))
    inventory.lease("orphan", 60)
    inventory.lease("alone", 60, detached=True, deadlines={"a": 30.0, "b": 3600.0})
    inventory.lease("drained", 60, detached=True, deadlines={"a": 30.0})
    inventory.lease("alive", -60)
    inventory.switch_off("off-0")
    request: dict[str, Any] = {"dry_run": True}
    elsewhere = CommandSite(home=tmp_path / "another-computer")
    (elsewhere.home / "local").mkdir(parents=True)
    (elsewhere.home / "local" / "cloud").symlink_to(inventory.site.cloud_folder)
    wanted = {
        f"{kind} {batch}-{end} in europe-west4-a"
        for batch in ("orphan", "drained")
        for kind, end in (("instance", "0"), ("disk", "data"))
    } | {"instance off-0 in europe-west4-a"}
    dry = cleanup.execute(elsewhere.context(), Cleanup(**request))
    assert {str(removal.item) for removal in dry.report.removals} == wanted
    kept = {str(choice.item): choice.reason for choice in dry.kept}
    assert kept.keys() == {"instance alone-0 in europe-west4-a", "disk alone-data in europe-west4-a"}
    assert all("left with --detach" in reason for reason in kept.values())
    values = status.execute(elsewhere.context())
    expired = {item["name"]: item["expired"] for item in (*values["vms"], *values["without_vm"])}
    assert {name for name, why in expired.items() if why} == {str(item).split()[1] for item in wanted}
    assert "its lease ended at" in expired["orphan-0"]
    assert gone(inventory.clean()) == wanted
    left = inventory.site.context().cloud.compute.instances({"app": "opensees-hpc"})
    assert {vm.name for vm in left} == {"alone-0", "alive-0"}


def test_the_report_of_abandoned_batches_says_what_cleanup_would_delete(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("left-0", ME, batch="left", expires=at(1))
    with inventory.site.context().journals.begin("left", "run", target="local", project=PROJECT) as state:
        state.intend("instance", "left-0", "europe-west4-a")
    inventory.put("_control/left/batch.json", b"{}")
    for ended_s_ago, has_expired in ((-60, False), (60, True)):
        inventory.lease("left", ended_s_ago)
        (abandoned,) = report_abandoned_batches(inventory.site.context())
        assert bool(abandoned.expired.get("left-0")) is has_expired
        assert bool(inventory.clean(dry_run=True).report.removals) is has_expired
