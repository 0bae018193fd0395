"""Armed faults hit, as often as requested."""

from __future__ import annotations

import pytest
import requests

from tests.emulator.conftest import CloudUnderTest, until, vm_body


def test_http_fault_hits_a_number_of_times(cloud: CloudUnderTest) -> None:
    cloud.fault(
        kind="http", match="GET .*/zones$", times=2, status=429, reason="rateLimitExceeded", message="slow down"
    )
    for _ in range(2):
        assert cloud.refused("GET", f"{cloud.project}/zones") == (429, "rateLimitExceeded", "slow down")
    assert cloud.ask("GET", f"{cloud.project}/zones").status_code == 200


def test_fault_for_ever_until_it_is_removed(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="http", match="/zones", times=None)
    assert [cloud.refused("GET", f"{cloud.project}/zones")[0] for _ in range(3)] == [503] * 3
    (fault,) = cloud.get("/_local/faults")["faults"]
    assert cloud.ask("DELETE", f"/_local/faults/{fault['id']}").json() == {"removed": 1}
    assert cloud.ask("GET", f"{cloud.project}/zones").status_code == 200


def test_dropped_connection(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="drop", match="/zones")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{cloud.project}/zones", headers=cloud.owner, timeout=60)
    assert cloud.ask("GET", f"{cloud.project}/zones").status_code == 200


def test_connection_dropped_in_the_middle_of_a_response(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="drop", match="/zones", after_bytes=100)
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
        requests.get(f"{cloud.project}/zones", headers=cloud.owner, timeout=60)
    assert "100 bytes read" in str(caught.value)


def test_delayed_response(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="delay", match="/zones", delay_s=600)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{cloud.project}/zones", headers=cloud.owner, timeout=0.3)
    assert cloud.ask("GET", f"{cloud.project}/zones").status_code == 200


def test_stockout_names_the_zones_with_capacity(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="stockout", match="europe-west4-a/", details=True, zones_available=["europe-west4-b"])
    record = cloud.insert_vm("vm")
    (error,) = record["error"]["errors"]
    assert error["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    assert error["errorDetails"][2]["errorInfo"]["metadatas"]["zonesAvailable"] == "europe-west4-b"
    assert cloud.status_of("vm") == ""
    zone_b = f"{cloud.project}/zones/europe-west4-b/instances"
    assert "error" not in cloud.done("POST", zone_b, vm_body("vm", zone="europe-west4-b"))


def test_slow_boot_stays_in_staging(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="slow_boot", match="instances/vm$", delay_s=600)
    inserted = cloud.ask("POST", f"{cloud.zone}/instances", vm_body("vm")).json()
    until(lambda: cloud.status_of("vm") == "STAGING")
    assert cloud.get(inserted["selfLink"].replace("https://www.googleapis.com", cloud.url))["status"] == "RUNNING"
    cloud.advance(601)
    cloud.wait(inserted)
    assert cloud.status_of("vm") == "RUNNING"


def test_faults_of_the_guest_are_passed_to_the_hypervisor(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="ssh_refused", match="instances/vm$")
    cloud.insert_vm("vm")
    cloud.fault(kind="full_disk", match="instances/vm$")
    cloud.fault(kind="ssh_drop", match="instances/vm$")
    cloud.fault(kind="ssh_cut", match="instances/vm$")
    assert [name for name, _ in cloud.hypervisor.guest_faults] == [
        *("refuse_ssh", "fill_disk", "drop_connections", "cut_next_connection")
    ]
    assert cloud.get("/_local/faults")["faults"] == []


def test_preemption_some_time_after_the_boot(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="preemption", match="instances/vm$", after_s=100)
    cloud.insert_vm("vm")
    assert cloud.status_of("vm") == "RUNNING"
    cloud.advance(101)
    until(lambda: cloud.status_of("vm") == "TERMINATED")


def test_lost_operation(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="lost_operation", match="insert .*networks/n$")
    record = cloud.ask("POST", f"{cloud.project}/global/networks", {"name": "n"}).json()
    url = record["selfLink"].replace("https://www.googleapis.com", cloud.url)
    until(lambda: cloud.ask("GET", url).status_code == 404)
    assert cloud.get(f"{cloud.project}/global/networks/n")["name"] == "n"


def test_failed_operation_leaves_nothing(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="failed_operation", match="insert .*instances/vm$")
    assert cloud.insert_vm("vm")["error"]["errors"][0]["code"] == "INTERNAL_ERROR"
    assert cloud.status_of("vm") == ""
    assert cloud.refused("GET", f"{cloud.zone}/disks/vm")[0] == 404


def test_reset_empties_the_cloud(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm")
    cloud.fault(kind="http", match="never")
    cloud.ask("POST", "/storage/v1/b", {"name": "results"}, params={"project": "local-project"})
    cloud.session.post(f"{cloud.url}/upload/storage/v1/b/results/o?uploadType=media&name=x", data=b"x")
    assert cloud.ask("POST", "/_local/reset").status_code == 200
    status = cloud.get("/_local/status")
    assert (status["instances"], status["faults"]) == ([], 0)
    assert cloud.refused("GET", "/storage/v1/b/results")[0] == 404
    cloud.insert_vm("vm")
