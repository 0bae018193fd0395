"""The recordings of the stock Google plugin, replayed request by request against a fresh cloud.

How: each recorded request is sent in the recorded order. Values that a cloud makes up (fingerprints, etags, generations,
names of operations) are learned from our answers and replace the recorded ones in later requests. A recorded poll
of an operation that was DONE is repeated until ours is. Compared are the status and every field of the recorded answer, at
any depth, except ``MADE_UP`` ones, of which only the presence is compared; our answers may have more fields. After a PATCH
the recorded cloud kept nulls, empty lists and partial links as they were sent; Google does not, and neither do we. It also let an
instance that is off keep its ephemeral address, which Google takes away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.emulator.compute.instance_documents import take_external_addresses
from runner.emulator.state.settings import CloudSettings
from tests.emulator.conftest import CloudUnderTest, Json, until

TRACES = Path(__file__).parents[1] / "data" / "traces"
WHOLE_LIFE = (
    *("base-2-up", "base-4-refresh", "base-5-update", "base-6-preview-refresh"),
    *(
        "image-1-preview",
        "image-2-up",
        "image-3-preview",
        "image-4-refresh",
        "image-5-update",
        "image-6-preview-refresh",
    ),
    *("analysis-2-up", "analysis-4-refresh", "analysis-5-update", "analysis-6-preview-refresh", "analysis-7-destroy"),
    *("image-7-destroy", "base-7-destroy", "base-8-up-again", "base-9-destroy"),
)
PROJECT_NUMBER = "123456789012"
LEARNED = frozenset({"fingerprint", "labelFingerprint", "etag", "generation"})
MADE_UP = LEARNED | {
    *("id", "targetId", "sourceDiskId", "uniqueId", "oauth2ClientId", "selfLinkWithId", "metageneration"),
    *("insertTime", "startTime", "endTime", "creationTimestamp", "lastStartTimestamp", "lastStopTimestamp"),
    *("terminationTimestamp", "timeCreated", "updated", "lockedTime", "effectiveTime", "timeStorageClassUpdated"),
    *("networkIP", "natIP", "mediaLink", "progress"),
}
#: The recorded cloud knew no posix accounts, and wrote the links of objects in its own way.
OURS = frozenset({"posixAccounts", "extendedHelp"})


def read_trace(name: str) -> list[Json]:
    return [json.loads(line) for line in (TRACES / f"{name}.jsonl").read_text().splitlines()]


class Replay:
    def __init__(self, cloud: CloudUnderTest, *, ignored: frozenset[str] = frozenset()) -> None:
        self._cloud = cloud
        self._learned: dict[str, str] = {}
        self._ignored = ignored

    def run(self, name: str) -> None:
        for number, recorded in enumerate(read_trace(name), 1):
            where = f"{name}:{number} {recorded['method']} {recorded['path']}"
            status, body = self._send(recorded)
            assert status == recorded["status"], f"{where}: {status} {body}"
            wanted = recorded["response_body"]
            if wanted is not None:
                if wanted.get("kind") == "compute#instance" and wanted.get("status") == "TERMINATED":
                    take_external_addresses(wanted)
                self._learn(wanted, body)
                problems = list(self._differences(wanted, body, ""))
                assert not problems, f"{where}: {problems}"

    def _send(self, recorded: Json) -> tuple[int, Any]:
        path, query = self._translate(recorded["path"]), {k: self._translate(v) for k, v in recorded["query"].items()}
        if "/operations/" in path and recorded["response_body"].get("status") == "DONE":
            until(lambda: self._cloud.get(path)["status"] == "DONE")
        body = recorded["request_body"]
        more: Json = {"json": self._translated(body)}
        if isinstance(body, str):
            more = {"data": body.encode(), "headers": {"Content-Type": 'multipart/related; boundary="BOUNDARY"'}}
        if recorded["status"] == 401:
            more["headers"] = {"Authorization": "Bearer expired"}
        answer = self._cloud.session.request(recorded["method"], self._cloud.url + path, params=query, **more)
        return answer.status_code, answer.json() if answer.content else None

    def _translate(self, text: str) -> str:
        for recorded, ours in self._learned.items():
            if recorded in text and (recorded.startswith("operation-") or recorded == text):
                text = text.replace(recorded, ours) if text.endswith(recorded) else text
        return text

    def _translated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._translated(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._translated(item) for item in value]
        return self._translate(value) if isinstance(value, str) else value

    def _learn(self, recorded: Any, ours: Any) -> None:
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key in recorded.keys() & ours.keys():
                is_operation = key == "name" and str(recorded[key]).startswith("operation-")
                if key in LEARNED or is_operation:
                    self._learned[str(recorded[key])] = str(ours[key])
                self._learn(recorded[key], ours[key])
        elif isinstance(recorded, list) and isinstance(ours, list):
            for one, other in zip(recorded, ours, strict=False):
                self._learn(one, other)

    def _differences(self, recorded: Any, ours: Any, where: str) -> Iterator[str]:
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key, value in recorded.items():
                if key in OURS | self._ignored:
                    continue
                if key not in ours and value not in ([], None):
                    yield f"{where}.{key} is missing"
                elif key in ours and key not in MADE_UP:
                    yield from self._differences(value, ours[key], f"{where}.{key}")
        elif isinstance(recorded, list) and isinstance(ours, list):
            yield from self._list_differences(recorded, ours, where)
        elif not self._is_same(recorded, ours, where):
            yield f"{where}: recorded {recorded!r}, ours {ours!r}"

    def _list_differences(self, recorded: list[Any], ours: list[Any], where: str) -> Iterator[str]:
        if where == ".items" and recorded and recorded[0].get("kind") == "compute#zone":
            ours = [zone for zone in ours if zone["name"] in {known["name"] for known in recorded}]
        if len(recorded) != len(ours):
            yield f"{where}: recorded {len(recorded)} items, ours {len(ours)}"
        for index, (one, other) in enumerate(zip(recorded, ours, strict=False)):
            yield from self._differences(one, other, f"{where}[{index}]")

    def _is_same(self, recorded: Any, ours: Any, where: str) -> bool:
        if where == ".name" and str(recorded).startswith("operation-"):
            return str(ours).startswith("operation-")
        if (
            where.endswith(".selfLink")
            and isinstance(recorded, str)
            and ("/operations/" in recorded or "/o/" in recorded)
        ):
            return str(ours).split("/v1/", 1)[1].count("/") > 0
        if where == ".loginProfile.name":
            return True
        if str(recorded).endswith(PROJECT_NUMBER):  # the recorded cloud took the number for a name
            return str(ours).endswith("demo") or ours == recorded
        if where == ".name" and str(recorded).startswith("operations/acat"):
            return str(ours).startswith("operations/acat")
        if where == ".status" and recorded == "RUNNING":
            return ours in ("RUNNING", "DONE")
        if str(recorded).startswith("projects/"):
            return str(ours).endswith(str(recorded))
        return bool(recorded == ours) or (where.startswith(".error") and _is_error_text(recorded, ours, where))


def _is_error_text(recorded: Any, ours: Any, where: str) -> bool:
    """Return whether ``errors[].message`` begins as recorded: the recorded cloud sometimes shortened it."""
    return where.endswith("errors[0].message") and str(ours).startswith(str(recorded)[:40])


@pytest.fixture
def settings(tmp_path: Path) -> CloudSettings:
    """Return the settings of the recordings' project, in which no API was enabled."""
    return CloudSettings(
        state=tmp_path / "state",
        project="demo",
        user="user@example.com",
        region="europe-west1",
        zone="europe-west1-b",
        enabled_services=(),
    )


def test_whole_life_of_the_three_programs(cloud: CloudUnderTest) -> None:
    replay = Replay(cloud)
    for name in WHOLE_LIFE:
        replay.run(name)
    left = [item for scope in cloud.get(f"{cloud.project}/aggregated/instances")["items"].values() for item in scope]
    assert set(left) == {"warning"}


# ---------------------------------------------------------------------- errors

INSTANCE = "compute.instances"
VM = json.loads((TRACES / "errors-exists-vm.jsonl").read_text().splitlines()[0])["request_body"]
BUCKET = json.loads((TRACES / "errors-bucket-taken.jsonl").read_text().splitlines()[0])["request_body"]


def vm(name: str, zone: str) -> Json:
    return json.loads(json.dumps({**VM, "name": name}).replace("europe-west1-b", zone))  # type: ignore[no-any-return]


def make_network(cloud: CloudUnderTest) -> None:
    cloud.done("POST", f"{cloud.project}/global/networks", {"name": "study-net", "autoCreateSubnetworks": False})
    body = {"name": "study-sub", "network": "projects/demo/global/networks/study-net", "ipCidrRange": "10.10.0.0/24"}
    cloud.done("POST", f"{cloud.region}/subnetworks", body)


def make_vms(cloud: CloudUnderTest, *names: str) -> None:
    for name in names:
        zone = "europe-west1-c" if name == "run-2" else "europe-west1-b"
        assert "error" not in cloud.done("POST", f"{cloud.project}/zones/{zone}/instances", vm(name, zone))


def delete_first_vm(cloud: CloudUnderTest) -> None:
    make_vms(cloud, "run-1", "run-2", "run-3")
    cloud.done("DELETE", f"{cloud.zone}/instances/run-1")


def make_disk(cloud: CloudUnderTest) -> None:
    image = VM["disks"][0]["initializeParams"]["sourceImage"]
    cloud.done("POST", f"{cloud.zone}/disks", {"name": "run-1", "sizeGb": "50", "sourceImage": image})


def make_builder(cloud: CloudUnderTest) -> None:
    image = VM["disks"][0]["initializeParams"]["sourceImage"]
    cloud.done("POST", f"{cloud.zone}/disks", {"name": "builder-root", "sizeGb": "50", "sourceImage": image})
    disks = [{"boot": True, "source": "projects/demo/zones/europe-west1-b/disks/builder-root"}]
    cloud.done("POST", f"{cloud.zone}/instances", {**VM, "name": "builder", "disks": disks})


def make_account(cloud: CloudUnderTest) -> None:
    body = {"accountId": "study-runner", "serviceAccount": {}}
    assert cloud.ask("POST", "/iam/v1/projects/demo/serviceAccounts", body).status_code == 200


def make_known_names(cloud: CloudUnderTest) -> None:
    make_account(cloud)
    role = {"roleId": "studyRole", "role": {"title": "x"}}
    assert cloud.ask("POST", "/iam/v1/projects/demo/roles", role).status_code == 200
    fingerprint = cloud.get(cloud.project)["commonInstanceMetadata"]["fingerprint"]
    body = {"fingerprint": fingerprint, "items": [{"key": "enable-oslogin", "value": "FALSE"}]}
    cloud.done("POST", f"{cloud.project}/setCommonInstanceMetadata", body)


def make_bucket(cloud: CloudUnderTest) -> None:
    assert cloud.ask("POST", "/storage/v1/b", BUCKET, params={"project": "demo"}).status_code == 200


def make_object(cloud: CloudUnderTest) -> None:
    make_bucket(cloud)
    query = {"name": "run-1/out.h5", "uploadType": "media"}
    answer = cloud.session.post(
        f"{cloud.url}/upload/storage/v1/b/demo-results/o",
        params=query,
        data=b"data",
        headers={"Content-Type": "text/plain"},
    )
    assert answer.status_code == 200


def terminate(cloud: CloudUnderTest) -> None:
    make_bucket(cloud)
    make_vms(cloud, "run-1")
    cloud.done("POST", f"{cloud.zone}/instances/run-1/stop")


def refuse(match: str, name: str, times: int = 1) -> Json:
    """Return the fault that causes the recorded error."""
    error = read_trace(name)[-1 if times == 1 else 0]["response_body"]["error"]
    told = {"status": error["code"], "reason": error["errors"][0]["reason"], "message": error["message"]}
    return {"kind": "http", "match": match, "times": times, **told}


INSERT = "POST .*/instances"
GIVEN: dict[str, list[Any]] = {
    "errors-api-off": [
        lambda cloud: cloud.ask("POST", "/serviceusage/v1/projects/demo/services/compute.googleapis.com:disable")
    ],
    "errors-bucket-forbidden": [refuse("POST /storage/v1/b", "errors-bucket-forbidden")],
    "errors-bucket-force": [make_object],
    "errors-bucket-force-destroy": [make_object],
    "errors-bucket-not-empty": [make_object],
    "errors-bucket-taken": [refuse("POST /storage/v1/b", "errors-bucket-taken")],
    "errors-exists-base": [make_known_names],
    "errors-exists-disk": [make_disk],
    "errors-exists-vm": [lambda cloud: make_vms(cloud, "run-1")],
    "errors-forbidden": [refuse(INSERT, "errors-forbidden")],
    "errors-gone-destroy": [delete_first_vm],
    "errors-gone-destroy-refresh": [],
    "errors-gone-preview-refresh": [delete_first_vm],
    "errors-gone-update": [delete_first_vm],
    "errors-http503": [refuse(INSERT, "errors-http503", times=2)],
    "errors-iam-forbidden": [
        lambda cloud: cloud.ask("POST", "/cloudresourcemanager/v1/projects/demo:getIamPolicy"),
        refuse(":setIamPolicy", "errors-iam-forbidden"),
    ],
    "errors-image-disk-in-use": [make_builder],
    "errors-net-in-use": [make_builder],
    "errors-one-zone": [{"kind": "stockout", "match": "europe-west1-c"}],
    "errors-polls": [
        make_account,
        terminate,
        {"kind": "slow_operation", "match": "setLabels .*run-1", "delay_s": 0.5},
    ],
    "errors-quota": [{"kind": "quota", "match": "run-1"}],
    "errors-quota-http": [{"kind": "quota", "match": "run-1", "form": "http"}],
    "errors-rate": [refuse(INSERT, "errors-rate")],
    "errors-recover": [],
    "errors-stockout": [{"kind": "stockout", "match": "run-1"}],
    "errors-stockout-details": [{"kind": "stockout", "match": "run-1", "details": True}],
    "errors-terminated": [terminate],
    "errors-unauthorized": [],
}


def test_every_recorded_error_is_replayed() -> None:
    assert set(GIVEN) == {file.stem for file in TRACES.glob("errors-*.jsonl")}


@pytest.mark.parametrize("name", GIVEN)
def test_recorded_error(cloud: CloudUnderTest, name: str) -> None:
    """Allow for the recorded cloud, which had no subnetwork and reported ``default`` as an instance's network."""
    make_network(cloud)
    for given in GIVEN[name]:
        cloud.fault(**given) if isinstance(given, dict) else given(cloud)
    Replay(cloud, ignored=frozenset({"network"})).run(name)
