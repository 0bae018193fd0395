"""The policy of one instance grants permissions on it that the project's policy does not grant on others."""

from __future__ import annotations

import pytest

from tests.emulator.conftest import CloudUnderTest, Json

EMAIL = "runner@local-project.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{EMAIL}"
ROLE = "projects/local-project/roles/selfDelete"
PERMISSIONS = ["compute.instances.get", "compute.instances.delete"]
KEY = "projects/local-project/zones/europe-west4-a/instances"


@pytest.fixture
def token(cloud: CloudUnderTest) -> Json:
    """Return headers of the account as which both ``mine`` and ``other`` run; it has no permissions yet."""
    iam = "/iam/v1/projects/local-project"
    assert cloud.ask("POST", f"{iam}/serviceAccounts", {"accountId": "runner"}).status_code == 200
    role = {"roleId": "selfDelete", "role": {"title": "t", "includedPermissions": PERMISSIONS}}
    assert cloud.ask("POST", f"{iam}/roles", role).status_code == 200
    for name in ("mine", "other"):
        cloud.insert_vm(name, serviceAccounts=[{"email": EMAIL, "scopes": ["cloud-platform"]}])
    return {"Authorization": f"Bearer {cloud.hypervisor.view.access_token(f'{KEY}/mine')['access_token']}"}


def let_delete(cloud: CloudUnderTest, name: str) -> Json:
    policy = cloud.get(f"{cloud.zone}/instances/{name}/getIamPolicy")
    bindings = [{"role": ROLE, "members": [MEMBER]}]
    body = {"policy": {"bindings": bindings, "etag": policy["etag"]}}
    answer = cloud.ask("POST", f"{cloud.zone}/instances/{name}/setIamPolicy", body)
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    return made


def allowed(cloud: CloudUnderTest, name: str, token: Json) -> list[str]:
    url = f"{cloud.zone}/instances/{name}/testIamPermissions"
    wanted = [*PERMISSIONS, "compute.instances.stop"]
    answer: list[str] = cloud.ask("POST", url, {"permissions": wanted}, headers=token).json()["permissions"]
    return answer


def test_an_instance_may_be_deleted_by_the_members_of_its_policy(cloud: CloudUnderTest, token: Json) -> None:
    url = f"{cloud.zone}/instances"
    assert cloud.ask("DELETE", f"{url}/mine", headers=token).status_code == 403
    assert let_delete(cloud, "mine")["bindings"] == [{"role": ROLE, "members": [MEMBER]}]
    assert allowed(cloud, "mine", token) == PERMISSIONS
    assert allowed(cloud, "other", token) == []
    assert cloud.ask("GET", f"{url}/mine", headers=token).status_code == 200
    assert cloud.ask("POST", f"{url}/mine/stop", headers=token).status_code == 403
    assert cloud.ask("GET", f"{url}/mine/getIamPolicy", headers=token).status_code == 403
    assert cloud.ask("DELETE", f"{url}/other", headers=token).status_code == 403
    assert cloud.ask("DELETE", f"{url}/mine", headers=token).status_code == 200


def test_a_policy_is_deleted_with_its_instance(cloud: CloudUnderTest, token: Json) -> None:
    let_delete(cloud, "mine")
    cloud.done("DELETE", f"{cloud.zone}/instances/mine")
    assert cloud.refused("GET", f"{cloud.zone}/instances/mine/getIamPolicy")[0] == 404
    cloud.insert_vm("mine")
    assert "bindings" not in cloud.get(f"{cloud.zone}/instances/mine/getIamPolicy")


def test_a_policy_that_has_changed_since_is_not_overwritten(cloud: CloudUnderTest, token: Json) -> None:
    old = cloud.get(f"{cloud.zone}/instances/mine/getIamPolicy")
    let_delete(cloud, "mine")
    body = {"policy": {"bindings": [], "etag": old["etag"]}}
    assert cloud.refused("POST", f"{cloud.zone}/instances/mine/setIamPolicy", body)[0] == 409
    wrong = {"policy": {"bindings": [{"role": "projects/local-project/roles/none", "members": [MEMBER]}]}}
    assert cloud.refused("POST", f"{cloud.zone}/instances/mine/setIamPolicy", wrong)[0] == 400
