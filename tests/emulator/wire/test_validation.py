"""Requests that Google rejects fail with Google's errors: a table of bad requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.emulator.state.settings import CloudSettings
from tests.emulator.conftest import ROCKY, CloudUnderTest, Json, spot, vm_body


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """Yield one cloud for the whole table: a rejected request changes nothing."""
    folder: Path = tmp_path_factory.mktemp("cloud")
    running = CloudUnderTest(CloudSettings(state=folder / "state")).start()
    running.insert_vm("there")
    yield running
    running.stop()


def boot_disk(**changes: Any) -> list[Json]:
    return [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": ROCKY, **changes}}]


LIMITED = {"maxRunDuration": {"seconds": 3600}}
BAD_INSTANCES: list[tuple[Json, int, str, str]] = [
    ({"name": "Upper"}, 400, "invalid", "resource.name"),
    ({"name": "a" * 64}, 400, "invalid", "regex"),
    ({"name": "-a"}, 400, "invalid", "regex"),
    ({"name": ""}, 400, "required", "resource.name"),
    ({"name": "there"}, 409, "alreadyExists", "instances/there' already exists"),
    ({"color": "red"}, 400, "invalid", 'Unknown name "color"'),
    ({"scheduling": spot(colour="red")}, 400, "invalid", "Unknown name \"colour\" at 'scheduling'"),
    ({"disks": [{"boot": True, "size": 3}]}, 400, "invalid", "Unknown name \"size\" at 'disks[0]'"),
    ({"canIpForward": "yes"}, 400, "invalid", "TYPE_BOOL"),
    ({"labels": {"batch": 3}}, 400, "invalid", "TYPE_STRING"),
    ({"labels": {"Batch": "x"}}, 400, "invalid", "resource.labels"),
    ({"labels": {"batch": "Has Space"}}, 400, "invalid", "format constraints"),
    (
        {"machineType": "zones/europe-west4-a/machineTypes/c9-huge-1"},
        400,
        "invalid",
        "referenced resource does not exist",
    ),
    ({"machineType": "zones/europe-west4-b/machineTypes/c2-standard-4"}, 400, "invalid", "must be in the zone"),
    ({"machineType": ""}, 400, "required", "machineType"),
    ({"disks": []}, 400, "invalid", "Boot disk"),
    (
        {"disks": boot_disk(sourceImage="projects/debian-cloud/global/images/none")},
        400,
        "invalid",
        "image resource cannot be found",
    ),
    ({"disks": boot_disk(sourceImage="global/images/family/none")}, 404, "notFound", "family/none"),
    ({"disks": boot_disk(diskSizeGb="5")}, 400, "invalid", "smaller than the image size"),
    ({"disks": boot_disk(diskType="zones/europe-west4-a/diskTypes/pd-magic")}, 400, "invalid", "diskTypes/pd-magic"),
    ({"disks": [{"boot": True, "source": "zones/europe-west4-a/disks/none"}]}, 404, "notFound", "disks/none"),
    ({"networkInterfaces": []}, 400, "invalid", "network interface"),
    ({"networkInterfaces": [{"network": "global/networks/none"}]}, 400, "invalid", "network resource cannot be found"),
    (
        {"networkInterfaces": [{"subnetwork": "regions/europe-west4/subnetworks/none"}]},
        400,
        "invalid",
        "subnetwork resource cannot be found",
    ),
    (
        {"networkInterfaces": [{"subnetwork": "regions/us-east1/subnetworks/default"}]},
        400,
        "invalid",
        "another region",
    ),
    (
        {"serviceAccounts": [{"email": "no@local-project.iam.gserviceaccount.com"}]},
        404,
        "notFound",
        "of type 'serviceAccount'",
    ),
    ({"tags": {"items": ["Bad_Tag"]}}, 400, "invalid", "tags.items[0]"),
    ({"metadata": {"items": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}}, 400, "invalid", "duplicate"),
    ({"metadata": {"items": [{"key": "a b", "value": "1"}]}}, 400, "invalid", "key"),
    ({"scheduling": {"provisioningModel": "CHEAP"}}, 400, "invalid", "provisioningModel"),
    ({"scheduling": spot(automaticRestart=True)}, 400, "invalid", "AutomaticRestart is true"),
    ({"scheduling": {"provisioningModel": "SPOT", "preemptible": True}}, 400, "invalid", "AutomaticRestart is true"),
    ({"scheduling": spot(onHostMaintenance="MIGRATE")}, 400, "invalid", "OnHostMaintenance isn't TERMINATE"),
    ({"scheduling": spot(preemptible=False)}, 400, "invalid", "preemptible be true"),
    ({"scheduling": spot(instanceTerminationAction="HIBERNATE")}, 400, "invalid", "instanceTerminationAction"),
    ({"scheduling": {"instanceTerminationAction": "STOP"}}, 400, "invalid", "instanceTerminationAction"),
    ({"scheduling": spot(**LIMITED)}, 400, "invalid", "Must be set when maxRunDuration"),
    ({"scheduling": spot(maxRunDuration={"seconds": 29}, instanceTerminationAction="STOP")}, 400, "invalid", "30 and"),
    (
        {"scheduling": spot(maxRunDuration={"seconds": "10368001"}, instanceTerminationAction="STOP")},
        400,
        "invalid",
        "maxRunDuration",
    ),
    (
        {"scheduling": spot(maxRunDuration={"seconds": "soon"}, instanceTerminationAction="STOP")},
        400,
        "invalid",
        "scheduling.maxRunDuration.seconds",
    ),
]


@pytest.mark.parametrize(("changes", "status", "reason", "told"), BAD_INSTANCES)
def test_bad_instance(shared: CloudUnderTest, changes: Json, status: int, reason: str, told: str) -> None:
    body = {**vm_body("new"), **changes}
    answer = shared.refused("POST", f"{shared.zone}/instances", body)
    assert answer[:2] == (status, reason), answer
    assert told in answer[2]
    assert shared.status_of("new") == ""


BAD_REQUESTS: list[tuple[str, str, Any, int, str]] = [
    ("POST", "{project}/zones/mars-1-a/instances", {"name": "x"}, 400, "invalid"),
    ("POST", "{project}/regions/mars-1/subnetworks", {"name": "x"}, 400, "invalid"),
    ("GET", "{project}/zones/mars-1-a", None, 404, "notFound"),
    ("GET", "{url}/compute/v1/projects/other/zones", None, 404, "notFound"),
    ("GET", "{url}/compute/v1/nothing/here", None, 404, "notFound"),
    ("PUT", "{zone}/instances/there", {}, 405, "notFound"),
    ("GET", "{zone}/instances/none", None, 404, "notFound"),
    ("DELETE", "{zone}/instances/none", None, 404, "notFound"),
    ("GET", "{zone}/operations/operation-1", None, 404, "notFound"),
    ("GET", "{zone}/machineTypes/none", None, 404, "notFound"),
    ("GET", "{zone}/instances?filter=status", None, 400, "invalid"),
    ("GET", "{zone}/instances?maxResults=501", None, 400, "invalid"),
    ("GET", "{zone}/instances?pageToken=%21", None, 400, "invalid"),
    (
        "POST",
        "{zone}/instances/there/setLabels",
        {"labels": {"a": "b"}, "labelFingerprint": "old"},
        412,
        "conditionNotMet",
    ),
    ("POST", "{zone}/instances/there/setMetadata", {"items": [], "fingerprint": "old"}, 412, "conditionNotMet"),
    (
        "POST",
        "{zone}/instances/there/setMachineType",
        {"machineType": "zones/europe-west4-a/machineTypes/c2-standard-8"},
        400,
        "invalid",
    ),
    ("POST", "{project}/setCommonInstanceMetadata", {"fingerprint": "old"}, 412, "conditionNotMet"),
    ("POST", "{zone}/disks", {"name": "there"}, 409, "alreadyExists"),
    ("POST", "{zone}/disks", {"name": "d", "sizeGb": "x"}, 400, "invalid"),
    ("DELETE", "{zone}/disks/there", None, 400, "resourceInUseByAnotherResource"),
    (
        "POST",
        "{project}/global/images",
        {"name": "i", "sourceDisk": "zones/europe-west4-a/disks/there"},
        400,
        "resourceInUseByAnotherResource",
    ),
    (
        "POST",
        "{project}/global/images",
        {"name": "i", "sourceDisk": "zones/europe-west4-a/disks/none"},
        404,
        "notFound",
    ),
    ("POST", "{project}/global/images", {"name": "i"}, 400, "invalid"),
    ("POST", "{url}/compute/v1/projects/debian-cloud/global/images", {"name": "i"}, 403, "forbidden"),
    ("DELETE", "{project}/global/networks/default", None, 400, "resourceInUseByAnotherResource"),
    ("POST", "{project}/global/networks", {"name": "default"}, 409, "alreadyExists"),
    ("POST", "{project}/global/networks", {"name": "n", "routingConfig": {"routingMode": "X"}}, 400, "invalid"),
    ("POST", "{region}/subnetworks", {"name": "s", "network": "global/networks/default"}, 400, "required"),
    (
        "POST",
        "{region}/subnetworks",
        {"name": "s", "network": "global/networks/default", "ipCidrRange": "10.1"},
        400,
        "invalid",
    ),
    (
        "POST",
        "{region}/subnetworks",
        {"name": "s", "network": "global/networks/default", "ipCidrRange": "10.132.0.0/24"},
        400,
        "invalid",
    ),
    (
        "POST",
        "{project}/global/firewalls",
        {"name": "f", "network": "global/networks/none", "allowed": [{"IPProtocol": "tcp"}]},
        400,
        "invalid",
    ),
    ("POST", "{project}/global/firewalls", {"name": "f"}, 400, "required"),
    (
        "POST",
        "{project}/global/firewalls",
        {"name": "f", "allowed": [{"IPProtocol": "tcp"}], "sourceRanges": ["x"]},
        400,
        "invalid",
    ),
    ("POST", "{url}/iam/v1/projects/local-project/serviceAccounts", {"accountId": "x"}, 400, "badRequest"),
    ("GET", "{url}/iam/v1/projects/local-project/serviceAccounts/no@x", None, 404, "notFound"),
    ("GET", "{url}/iam/v1/projects/local-project/roles/none", None, 404, "notFound"),
    ("POST", "{url}/storage/v1/b?project=local-project", {"name": "Bad Name"}, 400, "invalid"),
    ("POST", "{url}/storage/v1/b?project=local-project", {"name": "bucket", "colour": 1}, 400, "invalid"),
    ("POST", "{url}/storage/v1/b", {"name": "bucket"}, 400, "required"),
    ("GET", "{url}/storage/v1/b/no-such-bucket", None, 404, "notFound"),
    ("GET", "{url}/storage/v1/b/no-such-bucket/o", None, 404, "notFound"),
    ("POST", "{url}/oslogin/v1/users/you@example.com:importSshPublicKey", {"key": "no key"}, 400, "badRequest"),
    ("GET", "{url}/oslogin/v1/users/you@example.com/sshPublicKeys/none", None, 404, "notFound"),
    ("POST", "{url}/_local/faults", {"kind": "earthquake"}, 400, "invalid"),
    ("POST", "{url}/_local/faults", {"kind": "http", "match": "("}, 400, "invalid"),
    ("POST", "{url}/_local/faults", {"kind": "http", "colour": 1}, 400, "invalid"),
]


@pytest.mark.parametrize(("method", "url", "body", "status", "reason"), BAD_REQUESTS)
def test_bad_request(shared: CloudUnderTest, method: str, url: str, body: Any, status: int, reason: str) -> None:
    names = {name: getattr(shared, name) for name in ("url", "project", "zone", "region")}
    assert shared.refused(method, url.format(**names), body)[:2] == (status, reason)


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"[" * 100_000], ids=["open", "list", "null", "deep"])
@pytest.mark.parametrize("api", ["compute", "storage"])
def test_body_that_is_not_a_json_object(shared: CloudUnderTest, api: str, body: bytes) -> None:
    uploads = f"{shared.url}/upload/storage/v1/b/bodies/o?uploadType=resumable"
    url = {"compute": f"{shared.zone}/instances", "storage": uploads}[api]
    json = {"Content-Type": "application/json; charset=UTF-8"}
    answer = shared.session.post(url, data=body, headers=json)
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (400, "parseError")
