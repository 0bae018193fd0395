"""Tokens of service accounts, and the effect of roles and policies."""

from __future__ import annotations

from typing import Any

import pytest

from runner.model import names
from tests.emulator.conftest import CloudUnderTest, Json, vm_body

EMAIL = "runner@local-project.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
IAM = "/iam/v1/projects/local-project"
PROJECT = "/cloudresourcemanager/v1/projects/local-project"


@pytest.fixture
def token(cloud: CloudUnderTest) -> Json:
    """Return headers with the token of a service account without rights, from the metadata of a VM that runs as it."""
    assert cloud.ask("POST", f"{IAM}/serviceAccounts", {"accountId": "runner"}).status_code == 200
    cloud.insert_vm("vm", serviceAccounts=[{"email": EMAIL, "scopes": ["cloud-platform"]}])
    key = "projects/local-project/zones/europe-west4-a/instances/vm"
    return {"Authorization": f"Bearer {cloud.hypervisor.view.access_token(key)['access_token']}"}


@pytest.fixture
def bucket(cloud: CloudUnderTest) -> str:
    answer = cloud.ask("POST", "/storage/v1/b", {"name": "results"}, params={"project": "local-project"})
    assert answer.status_code == 200
    return "results"


def bind_bucket(cloud: CloudUnderTest, role: str) -> None:
    policy = cloud.get("/storage/v1/b/results/iam")
    bindings = [*policy.get("bindings", []), {"role": role, "members": [MEMBER]}]
    assert (
        cloud.ask("PUT", "/storage/v1/b/results/iam", {"bindings": bindings, "etag": policy["etag"]}).status_code == 200
    )


def bind_project(cloud: CloudUnderTest, role: str, **condition: Any) -> None:
    assert (
        set_bindings(cloud, [{"role": role, "members": [MEMBER], **({"condition": condition} if condition else {})}])
        == 200
    )


def set_bindings(cloud: CloudUnderTest, more: list[Json], version: int = 3) -> int:
    """Add a binding to the project's policy, and return the status."""
    policy = cloud.ask("POST", f"{PROJECT}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}}).json()
    bindings = [*policy.get("bindings", []), *more]
    body = {"policy": {"bindings": bindings, "etag": policy["etag"], "version": version}}
    return cloud.ask("POST", f"{PROJECT}:setIamPolicy", body).status_code


def do(cloud: CloudUnderTest, verb: str, token: Json) -> int:
    """Perform one action on the object ``there``, and return the status."""
    url = f"{cloud.url}/storage/v1/b/results/o"
    if verb == "list":
        return cloud.session.get(url, headers=token).status_code
    if verb in ("create", "overwrite"):
        name = {"create": "new", "overwrite": "there"}[verb]
        upload = f"{cloud.url}/upload/storage/v1/b/results/o?uploadType=media&name={name}"
        return cloud.session.post(upload, data=b"x", headers=token).status_code
    return cloud.session.request({"get": "GET", "delete": "DELETE"}[verb], f"{url}/there", headers=token).status_code


READS, WRITES = {"list", "get"}, {"create", "overwrite", "delete"}
VERBS = ("list", "get", "create", "overwrite", "delete")


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("", set()),
        ("roles/storage.objectViewer", READS),
        ("roles/storage.objectCreator", {"create"}),
        ("roles/storage.objectUser", READS | WRITES),
        ("roles/storage.objectAdmin", READS | WRITES),
        ("roles/storage.admin", READS | WRITES),
        ("roles/compute.admin", set()),
    ],
)
def test_roles_on_objects(cloud: CloudUnderTest, token: Json, bucket: str, role: str, allowed: set[str]) -> None:
    assert do(cloud, "overwrite", {}) == 200
    if role:
        bind_bucket(cloud, role)
    for verb in VERBS:
        assert (do(cloud, verb, token) < 300) is (verb in allowed), verb


def test_denial_has_the_form_of_cloud_storage(cloud: CloudUnderTest, token: Json, bucket: str) -> None:
    status, reason, message = cloud.refused("GET", "/storage/v1/b/results/o/there", headers=token)
    assert (status, reason) == (403, "forbidden")
    assert message.startswith(f"{EMAIL} does not have storage.objects.get access to")


def test_overwrite_is_seen_when_the_name_is_in_the_body(cloud: CloudUnderTest, token: Json, bucket: str) -> None:
    bind_bucket(cloud, "roles/storage.objectCreator")
    assert do(cloud, "overwrite", {}) == 200
    url = f"{cloud.url}/upload/storage/v1/b/results/o?uploadType=resumable"
    codes = [
        cloud.session.post(url, json={"name": name, "contentType": "text/plain"}, headers=token).status_code
        for name in ("new", "there")
    ]
    assert codes == [200, 403]


def test_batch_is_checked_part_by_part(cloud: CloudUnderTest, token: Json, bucket: str) -> None:
    assert do(cloud, "overwrite", {}) == 200
    bind_bucket(cloud, "roles/storage.objectViewer")
    parts = "".join(
        f"--B\r\nContent-Type: application/http\r\nContent-ID: <{verb}>\r\n\r\n{verb} /storage/v1/b/results/o/there HTTP/1.1\r\n\r\n"
        for verb in ("GET", "DELETE")
    )
    headers = {**token, "Content-Type": "multipart/mixed; boundary=B"}
    answer = cloud.session.post(f"{cloud.url}/batch/storage/v1", data=parts + "--B--\r\n", headers=headers)
    assert "HTTP/1.1 200 OK" in answer.text
    assert "HTTP/1.1 403 Forbidden" in answer.text
    assert "<response-DELETE>" in answer.text


def test_custom_role_lets_a_vm_delete_itself_and_nothing_else(cloud: CloudUnderTest, token: Json) -> None:
    cloud.insert_vm("other")
    role = {"title": "self delete", "includedPermissions": ["compute.instances.delete", "compute.zoneOperations.get"]}
    assert cloud.ask("POST", f"{IAM}/roles", {"roleId": "selfDelete", "role": role}).status_code == 200
    expression = 'resource.name == "projects/local-project/zones/europe-west4-a/instances/vm"'
    bind_project(cloud, "projects/local-project/roles/selfDelete", title="self", expression=expression)
    url = f"{cloud.zone}/instances"
    assert cloud.refused("DELETE", f"{url}/other", headers=token)[:2] == (403, "forbidden")
    assert cloud.refused("GET", f"{url}/vm", headers=token)[2].startswith("Required 'compute.instances.get' permission")
    assert cloud.ask("DELETE", f"{url}/vm", headers=token).status_code == 200


def test_a_vm_of_a_batch_may_delete_vms_of_batches_and_nothing_else(cloud: CloudUnderTest, token: Json) -> None:
    """Hold even before the first of them exists, and for a batch whose name is the beginning of another one's."""
    role = {"title": "self delete", "includedPermissions": ["compute.instances.delete", "compute.instances.get"]}
    assert cloud.ask("POST", f"{IAM}/roles", {"roleId": "selfDelete", "role": role}).status_code == 200
    expression = names.self_delete_condition()
    bind_project(cloud, "projects/local-project/roles/selfDelete", title="self", expression=expression)
    url, ours = f"{cloud.zone}/instances", [names.instance_name(batch, 1) for batch in ("a", "a-1")]
    for name in (*ours, "a-1-builder"):
        cloud.insert_vm(name)
    for path in ("instances/a-1-builder", f"disks/{ours[0]}", "instances/vm"):
        assert cloud.refused("DELETE", f"{cloud.zone}/{path}", headers=token)[:2] == (403, "forbidden")
    assert cloud.refused("POST", f"{url}/{ours[0]}/stop", headers=token)[:2] == (403, "forbidden")
    assert cloud.refused("GET", url, headers=token)[:2] == (403, "forbidden")
    for name in ours:
        assert cloud.ask("GET", f"{url}/{name}", headers=token).status_code == 200
        assert cloud.ask("DELETE", f"{url}/{name}", headers=token).status_code == 200


def conditional(number: int) -> Json:
    condition = {"title": "t", "expression": f'resource.name.endsWith("/{number}")'}
    return {"role": "roles/compute.viewer", "members": [MEMBER], "condition": condition}


def test_policies_with_conditions_are_of_version_3(cloud: CloudUnderTest, token: Json) -> None:
    assert set_bindings(cloud, [conditional(1)], version=1) == 400
    assert set_bindings(cloud, [conditional(1)]) == 200
    [hidden] = cloud.ask("POST", f"{PROJECT}:getIamPolicy").json()["bindings"]
    assert "condition" not in hidden
    assert hidden["role"].startswith("roles/compute.viewer_withcond_")
    seen = cloud.ask("POST", f"{PROJECT}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}}).json()
    assert (seen["version"], seen["bindings"]) == (3, [conditional(1)])


def test_at_most_twenty_conditions_for_one_role_of_one_member(cloud: CloudUnderTest, token: Json) -> None:
    assert set_bindings(cloud, [conditional(number) for number in range(20)]) == 200
    assert set_bindings(cloud, [conditional(20)]) == 400


@pytest.mark.parametrize("condition", [{"expression": 'resource.name == "a"'}, {"title": "t", "expression": "no"}])
def test_a_condition_has_a_title_and_can_be_read(cloud: CloudUnderTest, token: Json, condition: Json) -> None:
    assert set_bindings(cloud, [conditional(1) | {"condition": condition}]) == 400


def test_insert_as_needs_the_right_to_act_as_the_account(cloud: CloudUnderTest, token: Json) -> None:
    bind_project(cloud, "roles/compute.instanceAdmin.v1")
    body = vm_body("new", serviceAccounts=[{"email": "default", "scopes": []}])
    status, _, message = cloud.refused("POST", f"{cloud.zone}/instances", body, headers=token)
    assert status == 403
    assert "iam.serviceAccountUser" in message


def test_token_of_a_deleted_or_disabled_account(cloud: CloudUnderTest, token: Json) -> None:
    assert cloud.refused("GET", cloud.project, headers=token)[0] == 403
    cloud.ask("POST", f"{IAM}/serviceAccounts/{EMAIL}:disable")
    assert cloud.refused("GET", cloud.project, headers=token)[:2] == (401, "authError")
    cloud.ask("POST", f"{IAM}/serviceAccounts/{EMAIL}:enable")
    cloud.ask("DELETE", f"{IAM}/serviceAccounts/{EMAIL}")
    assert cloud.refused("GET", cloud.project, headers=token)[0] == 401


def test_token_expires_for_good(cloud: CloudUnderTest, token: Json) -> None:
    """Check it again after another VM has got a token, which is when old ones are deleted."""
    assert cloud.refused("GET", cloud.project, headers=token)[0] == 403
    cloud.advance(3700)
    assert cloud.refused("GET", cloud.project, headers=token)[:2] == (401, "authError")
    cloud.hypervisor.view.access_token("projects/local-project/zones/europe-west4-a/instances/vm")
    assert cloud.refused("GET", cloud.project, headers=token)[:2] == (401, "authError")


def test_grant_that_takes_effect_late(cloud: CloudUnderTest, token: Json, bucket: str) -> None:
    cloud.fault(kind="iam_delay", match="buckets/results", delay_s=60)
    bind_bucket(cloud, "roles/storage.objectUser")
    assert cloud.get("/storage/v1/b/results/iam")["bindings"][0]["members"] == [MEMBER]
    assert do(cloud, "create", token) == 403
    cloud.advance(61)
    assert do(cloud, "create", token) == 200


def test_policy_that_has_changed_since(cloud: CloudUnderTest) -> None:
    policy = cloud.ask("POST", f"{PROJECT}:getIamPolicy").json()
    body = {"policy": {"bindings": [{"role": "roles/viewer", "members": ["user:a@b.c"]}], "etag": policy["etag"]}}
    assert cloud.ask("POST", f"{PROJECT}:setIamPolicy", body).status_code == 200
    assert cloud.refused("POST", f"{PROJECT}:setIamPolicy", body)[:2] == (409, "aborted")


@pytest.mark.parametrize(
    "binding",
    [
        {"role": "projects/local-project/roles/none", "members": ["user:a@b.c"]},
        {"role": "roles/viewer", "members": ["a@b.c"]},
        {"role": "roles/viewer", "members": [f"user:{EMAIL}"]},
        {"role": "roles/viewer", "members": ["serviceAccount:a@b.c"]},
    ],
)
def test_policy_with_an_invalid_binding(cloud: CloudUnderTest, binding: Json) -> None:
    body = {"policy": {"bindings": [binding]}}
    assert cloud.refused("POST", f"{PROJECT}:setIamPolicy", body)[0] == 400


def test_custom_role_is_deleted_softly(cloud: CloudUnderTest) -> None:
    body = {"roleId": "stopper", "role": {"title": "x", "includedPermissions": ["compute.instances.stop"]}}
    assert cloud.ask("POST", f"{IAM}/roles", body).status_code == 200
    assert cloud.ask("DELETE", f"{IAM}/roles/stopper").json()["deleted"] is True
    assert cloud.refused("POST", f"{IAM}/roles", body)[0] == 400
    assert "deleted" not in cloud.ask("POST", f"{IAM}/roles/stopper:undelete").json()
    changed = cloud.ask("PATCH", f"{IAM}/roles/stopper", {"title": "y"}).json()
    assert (changed["title"], changed["includedPermissions"]) == ("y", ["compute.instances.stop"])


def test_disabled_api(cloud: CloudUnderTest) -> None:
    services = "/serviceusage/v1/projects/local-project/services"
    assert cloud.ask("POST", f"{services}/compute.googleapis.com:disable").json()["done"] is True
    assert cloud.refused("GET", cloud.project)[:2] == (403, "accessNotConfigured")
    assert cloud.get(f"{services}/compute.googleapis.com")["state"] == "DISABLED"
    cloud.ask("POST", f"{services}:batchEnable", {"serviceIds": ["compute.googleapis.com"]})
    assert cloud.get(cloud.project)["name"] == "local-project"
