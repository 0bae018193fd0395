"""The life of an instance: states, limits, preemption, disks, labels, lists."""

from __future__ import annotations

import pytest

from runner.emulator.compute.lifecycle import PREEMPTION_NOTICE_S, STOP_NOTICE_S
from tests.emulator.conftest import ROCKY, CloudUnderTest, Json, spot, until, vm_body

LIMIT = {"maxRunDuration": {"seconds": 3600}}


def key_of(cloud: CloudUnderTest, name: str) -> str:
    return f"projects/{cloud.settings.project}/zones/{cloud.settings.zone}/instances/{name}"


def operations_on(cloud: CloudUnderTest, name: str) -> list[Json]:
    found = cloud.get(f"{cloud.zone}/operations")["items"]
    return [record for record in found if record["targetLink"].endswith(f"/instances/{name}")]


def test_insert_boots_an_instance_with_its_own_disk_and_address(cloud: CloudUnderTest) -> None:
    record = cloud.insert_vm("vm", labels={"batch": "b1"})
    assert "error" not in record
    instance = cloud.get(f"{cloud.zone}/instances/vm")
    nic = instance["networkInterfaces"][0]
    spec = cloud.hypervisor.running[key_of(cloud, "vm")]
    assert instance["status"] == "RUNNING"
    assert spec.address == nic["networkIP"] == nic["accessConfigs"][0]["natIP"]
    assert (spec.vcpus, spec.ssh_port, spec.name) == (4, 2222, "vm")
    disk = cloud.get(f"{cloud.zone}/disks/vm")
    assert (disk["status"], disk["sizeGb"], disk["users"]) == ("READY", "50", [instance["selfLink"]])
    assert disk["sourceImage"].endswith("images/hpc-rocky-linux-8-v20260801")
    assert (spec.root / "etc/os-release").read_text() == "hpc-rocky-linux-8"


def test_delete_removes_instance_and_auto_delete_disk(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm")
    root = cloud.hypervisor.running[key_of(cloud, "vm")].root
    cloud.done("DELETE", f"{cloud.zone}/instances/vm")
    assert cloud.hypervisor.running == {}
    assert cloud.status_of("vm") == ""
    assert cloud.refused("GET", f"{cloud.zone}/disks/vm")[0] == 404
    assert not root.exists()


def test_disk_without_auto_delete_stays_and_blocks_the_name(cloud: CloudUnderTest) -> None:
    disks = vm_body()["disks"]
    disks[0]["autoDelete"] = False
    cloud.insert_vm("vm", disks=disks)
    cloud.done("DELETE", f"{cloud.zone}/instances/vm")
    assert cloud.get(f"{cloud.zone}/disks/vm")["users"] == []
    assert cloud.refused("POST", f"{cloud.zone}/instances", vm_body("vm"))[:2] == (409, "alreadyExists")
    cloud.insert_vm("again", disks=[{"boot": True, "source": "zones/europe-west4-a/disks/vm"}])
    assert cloud.get(f"{cloud.zone}/disks/vm")["users"][0].endswith("instances/again")


def test_stop_start_reset(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm")
    cloud.done("POST", f"{cloud.zone}/instances/vm/stop")
    assert cloud.status_of("vm") == "TERMINATED"
    assert cloud.hypervisor.notices == [(key_of(cloud, "vm"), STOP_NOTICE_S)]
    cloud.done("POST", f"{cloud.zone}/instances/vm/stop")
    assert cloud.refused("POST", f"{cloud.zone}/instances/vm/reset")[1] == "resourceNotReady"
    cloud.done("POST", f"{cloud.zone}/instances/vm/start")
    assert cloud.status_of("vm") == "RUNNING"
    cloud.done("POST", f"{cloud.zone}/instances/vm/reset")
    assert cloud.hypervisor.notices[-1][1] == 0.0
    assert key_of(cloud, "vm") in cloud.hypervisor.running


@pytest.mark.parametrize(("action", "status"), [("STOP", "TERMINATED"), ("DELETE", "")])
def test_run_limit_is_enforced(cloud: CloudUnderTest, action: str, status: str) -> None:
    cloud.insert_vm("vm", scheduling=spot(**LIMIT, instanceTerminationAction=action))
    assert cloud.get(f"{cloud.zone}/instances/vm")["resourceStatus"]["scheduling"]["terminationTimestamp"]
    cloud.advance(3590)
    assert cloud.status_of("vm") == "RUNNING"
    cloud.advance(20)
    until(lambda: cloud.status_of("vm") == status)
    until(lambda: all(record["status"] == "DONE" for record in operations_on(cloud, "vm")))
    assert operations_on(cloud, "vm")[-1]["statusMessage"] == "Instance reached its maximum run duration."


@pytest.mark.parametrize(("action", "status"), [("STOP", "TERMINATED"), ("DELETE", "")])
def test_preemption_gives_notice_then_acts(cloud: CloudUnderTest, action: str, status: str) -> None:
    cloud.insert_vm("vm", scheduling=spot(instanceTerminationAction=action))
    record = cloud.done("POST", f"{cloud.zone}/instances/vm/simulateMaintenanceEvent")
    assert record["operationType"] == "compute.instances.preempted"
    assert cloud.hypervisor.notices == [(key_of(cloud, "vm"), PREEMPTION_NOTICE_S)]
    assert cloud.status_of("vm") == status


def test_preemption_by_the_admin_api_with_a_chosen_notice(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm")
    answer = cloud.ask("POST", "/_local/preempt", {"instance": "vm", "notice_s": 2})
    cloud.wait(answer.json())
    assert cloud.hypervisor.notices == [(key_of(cloud, "vm"), 2.0)]
    assert cloud.refused("POST", "/_local/preempt", {"instance": "vm"})[0] == 400


def test_maintenance_does_not_affect_a_standard_vm(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm", scheduling={})
    cloud.done("POST", f"{cloud.zone}/instances/vm/simulateMaintenanceEvent")
    assert cloud.status_of("vm") == "RUNNING"


def test_guest_that_powers_off_is_terminated_whatever_its_action(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm", scheduling=spot(instanceTerminationAction="DELETE"))
    cloud.loop.call_soon_threadsafe(cloud.hypervisor.view.guest_powered_off, key_of(cloud, "vm"))
    until(lambda: cloud.status_of("vm") == "TERMINATED")
    assert operations_on(cloud, "vm")[-1]["operationType"] == "compute.instances.guestTerminate"


def test_delete_while_it_boots(cloud: CloudUnderTest) -> None:
    cloud.fault(kind="slow_boot", delay_s=3600)
    inserted = cloud.ask("POST", f"{cloud.zone}/instances", vm_body("vm")).json()
    until(lambda: cloud.status_of("vm") == "STAGING")
    cloud.done("DELETE", f"{cloud.zone}/instances/vm")
    assert cloud.wait(inserted)["error"]["errors"][0]["code"] == "RESOURCE_NOT_FOUND"
    assert cloud.status_of("vm") == ""
    assert cloud.refused("GET", f"{cloud.zone}/disks/vm")[0] == 404


def test_labels_metadata_tags_change_with_their_fingerprints(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm")
    url = f"{cloud.zone}/instances/vm"
    old = cloud.get(url)
    cloud.done("POST", url + "/setLabels", {"labels": {"a": "b"}, "labelFingerprint": old["labelFingerprint"]})
    items = [{"key": "k", "value": "v"}]
    cloud.done("POST", url + "/setMetadata", {"items": items, "fingerprint": old["metadata"]["fingerprint"]})
    cloud.done("POST", url + "/setTags", {"items": ["ssh"], "fingerprint": old["tags"]["fingerprint"]})
    new = cloud.get(url)
    assert (new["labels"], new["metadata"]["items"], new["tags"]["items"]) == ({"a": "b"}, items, ["ssh"])
    assert new["labelFingerprint"] != old["labelFingerprint"]
    assert new["metadata"]["fingerprint"] != old["metadata"]["fingerprint"]


def test_deletion_protection(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm", deletionProtection=True)
    assert cloud.refused("DELETE", f"{cloud.zone}/instances/vm")[0] == 412
    cloud.done("POST", f"{cloud.zone}/instances/vm/setDeletionProtection", deletionProtection="false")
    cloud.done("DELETE", f"{cloud.zone}/instances/vm")


def test_lists_are_filtered_paged_and_aggregated(cloud: CloudUnderTest) -> None:
    for name, batch in (("a", "b1"), ("b", "b2"), ("c", "b1")):
        cloud.insert_vm(name, labels={"batch": batch})
    zone_b = f"{cloud.project}/zones/europe-west4-b"
    cloud.done("POST", f"{zone_b}/instances", vm_body("d", zone="europe-west4-b", labels={"batch": "b1"}))

    first = cloud.get(f"{cloud.zone}/instances", maxResults="2")
    second = cloud.get(f"{cloud.zone}/instances", maxResults="2", pageToken=first["nextPageToken"])
    assert [vm["name"] for vm in (*first["items"], *second["items"])] == ["a", "b", "c"]
    assert "nextPageToken" not in second

    chosen = cloud.get(f"{cloud.project}/aggregated/instances", filter="labels.batch=b1 AND status=RUNNING")["items"]
    assert [vm["name"] for vm in chosen["zones/europe-west4-a"]["instances"]] == ["a", "c"]
    assert [vm["name"] for vm in chosen["zones/europe-west4-b"]["instances"]] == ["d"]
    assert chosen["zones/europe-west4-c"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"
    assert "items" not in cloud.get(f"{cloud.zone}/instances", filter="labels.batch=none")


def test_guest_attributes_and_serial_port(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm")
    url = f"{cloud.zone}/instances/vm"
    items = cloud.get(url + "/getGuestAttributes", queryPath="hostkeys/")["queryValue"]["items"]
    assert items == [{"namespace": "hostkeys", "key": "ssh-ed25519", "value": "AAAA"}]
    assert cloud.get(url + "/getGuestAttributes", variableKey="hostkeys/ssh-ed25519")["variableValue"] == "AAAA"
    assert cloud.refused("GET", url + "/getGuestAttributes?queryPath=none/")[1] == "notFound"
    serial = cloud.get(url + "/serialPort")
    assert serial["contents"] == "vm login:\n"
    assert cloud.get(url + "/serialPort", start=serial["next"])["contents"] == ""


def test_guest_attributes_must_be_enabled(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm", metadata={"items": []})
    assert cloud.refused("GET", f"{cloud.zone}/instances/vm/getGuestAttributes?queryPath=hostkeys/")[1] == "notFound"


def test_metadata_tree_of_the_guest(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm", tags={"items": ["ssh"]}, serviceAccounts=[{"email": "default", "scopes": ["cloud-platform"]}])
    tree = cloud.hypervisor.view.metadata(key_of(cloud, "vm"))
    instance = tree["instance"]
    assert isinstance(instance, dict)
    assert (instance["name"], instance["preempted"], instance["tags"]) == ("vm", "FALSE", ["ssh"])
    assert instance["attributes"] == {"enable-guest-attributes": "TRUE"}
    assert instance["serviceAccounts"]["default"]["email"].endswith("-compute@developer.gserviceaccount.com")
    assert tree["project"] == {"projectId": "local-project", "numericProjectId": 123456789012, "attributes": {}}
    assert cloud.hypervisor.view.access_token(key_of(cloud, "vm"))["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("metric", "limit", "changes"),
    [
        ("PREEMPTIBLE_CPUS", 6, {}),
        ("CPUS", 6, {"scheduling": {}}),
        ("IN_USE_ADDRESSES", 1, {}),
        ("SSD_TOTAL_GB", 60, {"disks": [{"boot": True, "autoDelete": True, "initializeParams": {
            "sourceImage": ROCKY, "diskSizeGb": "50", "diskType": "zones/europe-west4-a/diskTypes/pd-ssd"}}]}),
        ("INSTANCES", 1, {}),
    ],
)  # fmt: skip
def test_quota_is_counted_and_enforced(cloud: CloudUnderTest, metric: str, limit: float, changes: Json) -> None:
    assert cloud.ask("POST", "/_local/quotas", {"metric": metric, "limit": limit}).status_code == 200
    assert "error" not in cloud.insert_vm("one", **changes)
    error = cloud.insert_vm("two", **changes)
    assert error["error"]["errors"][0]["code"] == "QUOTA_EXCEEDED"
    assert error["error"]["errors"][0]["message"].startswith(
        f"Quota '{metric}' exceeded.  Limit: {limit:.1f} in region"
    )
    assert cloud.status_of("two") == ""
    assert cloud.refused("GET", f"{cloud.zone}/disks/two")[0] == 404
    quotas = {quota["metric"]: quota for quota in cloud.get(cloud.region)["quotas"]}
    assert 0 < quotas[metric]["usage"] <= quotas[metric]["limit"] == limit


def test_of_many_simultaneous_inserts_as_many_succeed_as_the_quota_allows(cloud: CloudUnderTest) -> None:
    cloud.ask("POST", "/_local/quotas", {"metric": "PREEMPTIBLE_CPUS", "limit": 8})
    asked = [cloud.ask("POST", f"{cloud.zone}/instances", vm_body(f"vm-{n}")).json() for n in range(4)]
    assert sorted("error" in cloud.wait(operation) for operation in asked) == [False, False, True, True]


def test_request_that_is_sent_twice_is_executed_once(cloud: CloudUnderTest) -> None:
    query = {"requestId": "6f7d8f5e-3b1c-4b7e-9a52-0d9a4f4b2c11"}
    first = cloud.done("POST", f"{cloud.zone}/instances", vm_body("vm"), **query)
    assert cloud.done("POST", f"{cloud.zone}/instances", vm_body("vm"), **query) == first
    assert cloud.refused("DELETE", f"{cloud.zone}/instances/vm?requestId=7")[:2] == (400, "invalid")


def test_scheduling_may_change_while_stopped(cloud: CloudUnderTest) -> None:
    cloud.insert_vm("vm")
    url, new = f"{cloud.zone}/instances/vm/setScheduling", {**LIMIT, "instanceTerminationAction": "DELETE"}
    assert cloud.refused("POST", url, new)[0] == 400
    cloud.done("POST", f"{cloud.zone}/instances/vm/stop")
    cloud.done("POST", url, new)
    assert cloud.get(f"{cloud.zone}/instances/vm")["scheduling"]["maxRunDuration"] == {"seconds": "3600"}
