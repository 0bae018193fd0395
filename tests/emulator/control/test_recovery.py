"""The state that a restart keeps, and its report of instances that died with the last process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.emulator.state.settings import CloudSettings
from tests.emulator.conftest import CloudUnderTest, spot, until, vm_body

DELETED = spot(instanceTerminationAction="DELETE")
LIMIT = {"maxRunDuration": {"seconds": 3600}, "instanceTerminationAction": "STOP"}


@pytest.fixture
def clouds(settings: CloudSettings) -> Iterator[list[CloudUnderTest]]:
    """Yield a first cloud; ``restart`` appends the next one on the same state."""
    started = [CloudUnderTest(settings).start()]
    yield started
    started[-1].stop()


def restart(clouds: list[CloudUnderTest]) -> CloudUnderTest:
    clouds[-1].stop()
    clouds.append(CloudUnderTest(clouds[0].settings).start())
    return clouds[-1]


def test_resources_survive_a_restart(clouds: list[CloudUnderTest]) -> None:
    first = clouds[0]
    first.done("POST", f"{first.project}/global/networks", {"name": "n"})
    first.ask("POST", "/storage/v1/b", {"name": "results"}, params={"project": "local-project"})
    first.session.post(f"{first.url}/upload/storage/v1/b/results/o?uploadType=media&name=a/b", data=b"kept")
    first.ask("POST", "/iam/v1/projects/local-project/serviceAccounts", {"accountId": "runner"})
    first.fault(kind="http", match="never")
    first.ask("POST", "/_local/quotas", {"metric": "CPUS", "limit": 7})
    second = restart(clouds)
    assert second.get(f"{second.project}/global/networks/n")["name"] == "n"
    assert second.ask("GET", "/storage/v1/b/results/o/a%2Fb?alt=media").content == b"kept"
    email = "runner@local-project.iam.gserviceaccount.com"
    assert second.get(f"/iam/v1/projects/local-project/serviceAccounts/{email}")["email"] == email
    assert len(second.get("/_local/faults")["faults"]) == 1
    limits = {quota["metric"]: quota["limit"] for quota in second.get(second.region)["quotas"]}
    assert limits["CPUS"] == 7


def test_vms_that_died_are_terminated_or_gone(clouds: list[CloudUnderTest]) -> None:
    first = clouds[0]
    first.insert_vm("stays")
    first.insert_vm("goes", scheduling=DELETED)
    first.insert_vm("off")
    first.done("POST", f"{first.zone}/instances/off/stop")
    second = restart(clouds)
    assert [second.status_of(name) for name in ("stays", "goes", "off")] == ["TERMINATED", "", "TERMINATED"]
    assert second.refused("GET", f"{second.zone}/disks/goes")[0] == 404
    records = second.get(f"{second.zone}/operations", filter="operationType=compute.instances.hostError")["items"]
    told = {record["targetLink"].rsplit("/", 1)[1]: record["statusMessage"] for record in records}
    assert told.keys() == {"stays", "goes"}
    assert "deleted" in told["goes"]
    assert "terminated" in told["stays"]
    second.done("POST", f"{second.zone}/instances/stays/start")
    assert second.status_of("stays") == "RUNNING"


def test_an_interrupted_insert_leaves_nothing_that_blocks(clouds: list[CloudUnderTest]) -> None:
    first = clouds[0]
    first.fault(kind="slow_boot", delay_s=3600)
    record = first.ask("POST", f"{first.zone}/instances", vm_body("vm")).json()
    until(lambda: first.status_of("vm") == "STAGING")
    second = restart(clouds)
    assert second.status_of("vm") == ""
    cut = second.get(record["selfLink"].replace("https://www.googleapis.com", second.url))
    assert (cut["status"], cut["error"]["errors"][0]["code"]) == ("DONE", "INTERNAL_ERROR")
    second.insert_vm("vm")


def test_clock_and_tokens_survive_a_restart(clouds: list[CloudUnderTest]) -> None:
    first = clouds[0]
    first.advance(100000)
    before = first.cloud.parts.clock.now()
    second = restart(clouds)
    assert second.cloud.parts.clock.now() >= before


def test_alarms_are_armed_again(clouds: list[CloudUnderTest]) -> None:
    """An alarm that was due while the cloud was stopped goes off at the start and finds its instance off."""
    first = clouds[0]
    first.insert_vm("vm", scheduling=spot(**LIMIT))
    second = restart(clouds)
    second.done("POST", f"{second.zone}/instances/vm/start")
    third = restart(clouds)
    third.done("POST", f"{third.zone}/instances/vm/start")
    third.advance(3601)
    until(lambda: third.status_of("vm") == "TERMINATED")
