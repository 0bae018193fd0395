"""What has expired is reported as `cleanup` would have it, by every command, from every computer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.commands import cleanup, status
from runner.options.batches import Cleanup
from runner.recovery.sessions import report_dead_sessions
from tests.support.cloud_estate import BUCKET, ME, PROJECT, Estate, at, gone
from tests.support.command_site import CommandSite


def test_an_orphan_is_found_long_before_its_wall_and_from_any_computer(estate: Estate, tmp_path: Path) -> None:
    """A client died while its VMs were created: one may not delete itself, one could only switch itself off."""
    estate.bucket(BUCKET, ME)
    for batch in ("orphan", "alone", "drained", "alive", "off"):
        estate.vm(f"{batch}-0", ME, batch=batch, expires=at(1))
        estate.disk(f"{batch}-data", ME, batch=batch, expires=at(1))
    estate.lease("orphan", 60)
    estate.lease("alone", 60, detached=True, deadlines={"a": 30.0, "b": 3600.0})
    estate.lease("drained", 60, detached=True, deadlines={"a": 30.0})
    estate.lease("alive", -60)
    estate.switch_off("off-0")
    request: dict[str, Any] = {"dry_run": True}
    elsewhere = CommandSite(home=tmp_path / "another-computer")
    (elsewhere.home / "local").mkdir(parents=True)
    (elsewhere.home / "local" / "cloud").symlink_to(estate.site.cloud_folder)
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
    told = status.execute(elsewhere.context())
    expired = {item["name"]: item["outlived"] for item in (*told["vms"], *told["without_vm"])}
    assert {name for name, why in expired.items() if why} == {str(item).split()[1] for item in wanted}
    assert "its lease ended at" in expired["orphan-0"]
    assert gone(estate.clean()) == wanted
    left = estate.site.context().cloud.compute.instances({"app": "opensees-hpc"})
    assert {vm.name for vm in left} == {"alone-0", "alive-0"}


def test_the_report_of_abandoned_batches_says_what_cleanup_would_delete(estate: Estate) -> None:
    estate.bucket(BUCKET, ME)
    estate.vm("left-0", ME, batch="left", expires=at(1))
    with estate.site.context().journal.begin("left", "run", target="local", project=PROJECT) as state:
        state.intend("instance", "left-0", "europe-west4-a")
    estate.put("_control/left/batch.json", b"{}")
    for ended_s_ago, has_expired in ((-60, False), (60, True)):
        estate.lease("left", ended_s_ago)
        (dead,) = report_dead_sessions(estate.site.context())
        assert bool(dead.outlived.get("left-0")) is has_expired
        assert bool(estate.clean(dry_run=True).report.removals) is has_expired
