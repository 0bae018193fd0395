"""Details that Google's clients may depend on: pages, names, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import requests

from runner.emulator.iam.permissions import is_valid
from runner.emulator.iam.roles import ROLE_PERMISSIONS
from tests.emulator.conftest import CloudUnderTest, Json, spot

IAM = "/iam/v1/projects/local-project"
SERVICES = "/serviceusage/v1/projects/local-project/services"
STORAGE = "/storage/v1/b"
BAD_PERMISSIONS = [
    "compute.instances.delet",
    "compute.instance.get",
    "storage.objects",
    "nonsense",
    "compute.instances.*",
]


def pages(cloud: CloudUnderTest, url: str, **query: str) -> Iterator[Json]:
    """Return all pages of a list."""
    token: Mapping[str, str] = {}
    while True:
        page = cloud.get(url, **query, **token)
        yield page
        if not page.get("nextPageToken"):
            return
        token = {"pageToken": page["nextPageToken"]}


def make_role(cloud: CloudUnderTest, role_id: str, **role: object) -> int:
    return cloud.ask("POST", f"{IAM}/roles", {"roleId": role_id, "role": role}).status_code


def test_service_accounts_come_in_pages(cloud: CloudUnderTest) -> None:
    for number in range(25):
        answer = cloud.ask("POST", f"{IAM}/serviceAccounts", {"accountId": f"account-{number:02}"})
        assert answer.status_code == 200
    found = list(pages(cloud, f"{IAM}/serviceAccounts"))
    assert [len(page["accounts"]) for page in found] == [20, 6]
    assert len({account["email"] for page in found for account in page["accounts"]}) == 26
    assert len(list(pages(cloud, f"{IAM}/serviceAccounts", pageSize="10"))) == 3
    assert cloud.refused("GET", f"{IAM}/serviceAccounts", params={"pageSize": "101"})[0] == 400
    assert cloud.refused("GET", f"{IAM}/serviceAccounts", params={"pageToken": "odd!"})[0] == 400


def test_roles_come_in_pages_and_without_permissions_unless_view_is_full(cloud: CloudUnderTest) -> None:
    for number in range(3):
        assert make_role(cloud, f"role{number}", includedPermissions=["compute.instances.get"]) == 200
    cloud.ask("DELETE", f"{IAM}/roles/role1")
    found = [role for page in pages(cloud, f"{IAM}/roles", pageSize="1") for role in page["roles"]]
    assert [role["name"].rpartition("/")[2] for role in found] == ["role0", "role2"]
    assert all("includedPermissions" not in role for role in found)
    shown = cloud.get(f"{IAM}/roles", showDeleted="true", view="FULL")["roles"]
    assert [role["includedPermissions"] for role in shown] == [["compute.instances.get"]] * 3


def test_services_come_in_pages_and_by_state(cloud: CloudUnderTest) -> None:
    def names(**query: str) -> list[str]:
        found = [service for page in pages(cloud, SERVICES, **query) for service in page.get("services", [])]
        return [service["config"]["name"] for service in found]

    cloud.ask("POST", f"{SERVICES}/storage.googleapis.com:disable")
    assert names(filter="state:DISABLED", pageSize="1") == ["storage.googleapis.com"]
    enabled = names(filter="state:ENABLED", pageSize="2")
    assert "compute.googleapis.com" in enabled
    assert "storage.googleapis.com" not in enabled
    assert sorted(names()) == sorted([*enabled, "storage.googleapis.com"])
    assert cloud.refused("GET", SERVICES, params={"filter": "odd"})[0] == 400
    assert cloud.refused("GET", SERVICES, params={"pageSize": "201"})[0] == 400


def test_several_services_in_one_request(cloud: CloudUnderTest) -> None:
    asked = [f"projects/local-project/services/{name}.googleapis.com" for name in ("compute", "other")]
    answer = cloud.ask("GET", f"{SERVICES}:batchGet", params={"names": asked})
    states = {service["config"]["name"]: service["state"] for service in answer.json()["services"]}
    assert states == {"compute.googleapis.com": "ENABLED", "other.googleapis.com": "DISABLED"}
    assert cloud.refused("GET", f"{SERVICES}:batchGet")[0] == 400
    assert cloud.refused("GET", f"{SERVICES}:batchGet", params={"names": ["projects/foreign/services/x"]})[0] == 400
    assert cloud.refused("GET", f"{SERVICES}:batchGet", params={"names": [asked[0]] * 31})[0] == 400


def test_the_id_of_a_deleted_role_cannot_be_reused(cloud: CloudUnderTest) -> None:
    assert make_role(cloud, "selfDelete", title="t") == 200
    assert cloud.refused("POST", f"{IAM}/roles", {"roleId": "selfDelete"})[0] == 409
    cloud.ask("DELETE", f"{IAM}/roles/selfDelete")
    answer = cloud.ask("POST", f"{IAM}/roles", {"roleId": "selfDelete", "role": {}})
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "FAILED_PRECONDITION")
    assert error["errors"][0]["reason"] == "failedPrecondition"
    assert "can't create a role_id (selfDelete) which has been marked for deletion" in error["message"]
    assert cloud.ask("POST", f"{IAM}/roles/selfDelete:undelete").status_code == 200
    assert cloud.get(f"{IAM}/roles/selfDelete")["title"] == "t"


@pytest.mark.parametrize("permission", BAD_PERMISSIONS)
def test_permissions_that_do_not_exist_are_rejected(cloud: CloudUnderTest, permission: str) -> None:
    wanted = (400, "badRequest", f"Permission {permission} is not valid.")
    role = {"includedPermissions": ["compute.instances.get", permission]}
    assert cloud.refused("POST", f"{IAM}/roles", {"roleId": "odd", "role": role}) == wanted
    assert make_role(cloud, "good", includedPermissions=["compute.instances.get", "pubsub.topics.publish"]) == 200
    assert cloud.refused("PATCH", f"{IAM}/roles/good", role) == wanted
    project = "/cloudresourcemanager/v1/projects/local-project:testIamPermissions"
    assert cloud.refused("POST", project, {"permissions": [permission]}) == wanted


def test_permissions_of_our_own_roles_are_valid() -> None:
    plain = {one for permissions in ROLE_PERMISSIONS.values() for one in permissions if not one.endswith("*")}
    assert {one for one in plain if not is_valid(one)} == set()


def test_predefined_roles_can_be_read(cloud: CloudUnderTest) -> None:
    role = cloud.get("/iam/v1/roles/compute.instanceAdmin.v1")
    assert role["name"] == "roles/compute.instanceAdmin.v1"
    assert {"compute.instances.delete", "compute.disks.create"} <= set(role["includedPermissions"])
    assert not any("*" in one for one in role["includedPermissions"])
    assert cloud.refused("GET", "/iam/v1/roles/no.such")[0] == 404
    listed = [one["name"] for page in pages(cloud, "/iam/v1/roles", pageSize="5") for one in page["roles"]]
    assert listed == sorted(ROLE_PERMISSIONS)


def test_an_account_is_found_without_its_project(cloud: CloudUnderTest) -> None:
    account = cloud.ask("POST", f"{IAM}/serviceAccounts", {"accountId": "runner"}).json()
    anywhere = f"/iam/v1/projects/-/serviceAccounts/{account['email']}"
    assert cloud.get(anywhere) == account
    policy = cloud.ask("POST", f"{anywhere}:getIamPolicy").json()
    assert policy["etag"] == cloud.ask("POST", f"{IAM}/serviceAccounts/{account['email']}:getIamPolicy").json()["etag"]
    assert cloud.refused("GET", "/iam/v1/projects/-/serviceAccounts")[0] == 404
    assert cloud.refused("GET", "/compute/v1/projects/-/zones/europe-west4-a/instances")[0] == 404


def test_an_instance_that_is_off_has_no_external_address(cloud: CloudUnderTest) -> None:
    path = f"{cloud.zone}/instances/vm"
    cloud.insert_vm("vm", scheduling=spot(instanceTerminationAction="STOP"))

    def config() -> Json:
        found: Json = cloud.get(path)["networkInterfaces"][0]["accessConfigs"][0]
        return found

    address = config()["natIP"]
    assert address.startswith("127.")
    cloud.done("POST", f"{path}/stop")
    assert "natIP" not in config()
    assert (config()["type"], cloud.get(path)["networkInterfaces"][0]["networkIP"]) == ("ONE_TO_ONE_NAT", address)
    cloud.done("POST", f"{path}/start")
    assert config()["natIP"] == cloud.hypervisor.running[cloud.get(path)["selfLink"].split("/v1/")[1]].address


def test_usable_subnetworks(cloud: CloudUnderTest) -> None:
    found = cloud.get(f"{cloud.project}/aggregated/subnetworks/listUsable")
    assert found["kind"] == "compute#usableSubnetworksAggregatedList"
    own = [item for item in found["items"] if "/regions/europe-west4/" in item["subnetwork"]]
    assert own[0]["network"].endswith("/networks/default")
    assert own[0]["ipCidrRange"]


def test_the_response_to_a_deleted_operation_is_an_object(cloud: CloudUnderTest) -> None:
    """Check it because Google's Python client for Compute parses the body as JSON, and fails without one."""
    operation = cloud.insert_vm("vm")
    path = f"{cloud.zone}/operations/{operation['name']}"
    answer = cloud.ask("DELETE", path)
    assert (answer.status_code, answer.json()) == (200, {})
    assert cloud.refused("GET", path)[0] == 404


@pytest.mark.parametrize("name", ["goog-x", "my-google-bucket", "g00gle", "10.0.0.1", "a..b", "a.-b", "UPPER", "ab"])
def test_bucket_names_that_google_rejects(cloud: CloudUnderTest, name: str) -> None:
    told = cloud.refused("POST", STORAGE, {"name": name}, params={"project": "local-project"})
    assert told == (400, "invalid", f"Invalid bucket name: '{name}'")


@pytest.fixture
def objects(cloud: CloudUnderTest) -> str:
    """Return the path of the objects of a new bucket that contains ``a``."""
    assert cloud.ask("POST", STORAGE, {"name": "results"}, params={"project": "local-project"}).status_code == 200
    upload(cloud, "a")
    return f"{STORAGE}/results/o"


def upload(cloud: CloudUnderTest, name: str, **query: str) -> requests.Response:
    url = f"{cloud.url}/upload/storage/v1/b/results/o"
    return cloud.session.post(url, params={"uploadType": "media", "name": name, **query}, data=b"content")


def test_a_change_of_an_objects_metadata_raises_its_metageneration_only(cloud: CloudUnderTest, objects: str) -> None:
    first = cloud.get(f"{objects}/a")
    body = {"metadata": {"k": "v", "l": "w"}, "contentType": "text/x"}
    changed = cloud.ask("PATCH", f"{objects}/a", body, params={"ifMetagenerationMatch": "1"}).json()
    assert (changed["generation"], changed["metageneration"]) == (first["generation"], "2")
    assert (changed["kind"], changed["id"], changed["size"]) == (first["kind"], first["id"], first["size"])
    assert changed["updated"] > first["updated"]
    again = cloud.ask("PATCH", f"{objects}/a", {"metadata": {"l": None}}).json()
    assert (again["metageneration"], again["metadata"], again["contentType"]) == ("3", {"k": "v"}, "text/x")
    assert cloud.get(f"{objects}/a") == again
    cloud.ask("PATCH", f"{objects}/a", {"metadata": None})
    whole = cloud.ask("PUT", f"{objects}/a", {"metadata": {"x": "y"}}).json()
    assert (whole["metageneration"], whole["metadata"], "contentType" in whole) == ("5", {"x": "y"}, False)
    assert [item["metageneration"] for item in cloud.get(objects)["items"]] == ["5"]
    assert cloud.session.get(f"{cloud.url}{objects}/a", params={"alt": "media"}).content == b"content"
    assert upload(cloud, "a", ifGenerationMatch=first["generation"]).json()["metageneration"] == "1"
    assert "metadata" not in cloud.get(f"{objects}/a")


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("PATCH", {"ifMetagenerationMatch": "2"}),
        ("PATCH", {"ifGenerationMatch": "2"}),
        ("DELETE", {"ifMetagenerationMatch": "2"}),
        ("GET", {"ifMetagenerationMatch": "2"}),
        ("GET", {"ifGenerationMatch": "2", "alt": "media"}),
    ],
)
def test_a_failed_precondition_has_googles_form(
    cloud: CloudUnderTest, objects: str, method: str, query: dict[str, str]
) -> None:
    answer = cloud.ask(method, f"{objects}/a", {} if method == "PATCH" else None, params=query)
    assert_precondition_failed(answer)
    assert cloud.get(f"{objects}/a")["metageneration"] == "1"


def test_a_failed_precondition_of_an_upload_and_a_policy_has_the_same_form(cloud: CloudUnderTest, objects: str) -> None:
    assert_precondition_failed(upload(cloud, "a", ifGenerationMatch="0"))
    assert_precondition_failed(cloud.ask("PUT", f"{STORAGE}/results/iam", {"bindings": [], "etag": "old"}))


def assert_precondition_failed(answer: requests.Response) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], "status" in error) == (412, 412, False)
    (first,) = error["errors"]
    assert (first["domain"], first["reason"]) == ("global", "conditionNotMet")
    assert (first["locationType"], first["location"], first["message"]) == ("header", "If-Match", error["message"])


def test_a_resource_that_does_not_exist_cannot_be_changed(cloud: CloudUnderTest, objects: str) -> None:
    assert cloud.refused("PATCH", f"{objects}/none", {"metadata": {}})[:2] == (404, "notFound")
    assert cloud.refused("GET", f"{objects}/none", params={"ifMetagenerationMatch": "1"})[:2] == (404, "notFound")


def test_deleted_objects_are_listed_until_they_expire(cloud: CloudUnderTest, objects: str) -> None:
    upload(cloud, "b")
    first = cloud.get(f"{objects}/a")
    assert "items" not in cloud.get(objects, softDeleted="true")
    for name in ("a", "b"):
        assert cloud.ask("DELETE", f"{objects}/{name}").status_code == 204
    assert "items" not in cloud.get(objects)
    found = [one for page in pages(cloud, objects, softDeleted="true", maxResults="1") for one in page["items"]]
    assert [one["name"] for one in found] == ["a", "b"]
    assert (found[0]["generation"], found[0]["softDeleteTime"] < found[0]["hardDeleteTime"]) == (
        first["generation"],
        True,
    )
    assert [one["name"] for one in cloud.get(objects, softDeleted="true", prefix="b")["items"]] == ["b"]
    assert cloud.get(f"{objects}/a", softDeleted="true", generation=first["generation"]) == found[0]
    assert cloud.refused("GET", f"{objects}/a", params={"softDeleted": "true"})[0] == 400
    assert cloud.refused("GET", f"{objects}/a", params={"softDeleted": "true", "generation": "1"})[0] == 404
    assert cloud.ask("DELETE", f"{STORAGE}/results").status_code == 204
    cloud.ask("POST", STORAGE, {"name": "results"}, params={"project": "local-project"})
    assert "items" not in cloud.get(objects, softDeleted="true"), "another bucket of that name"
    upload(cloud, "c")
    cloud.ask("DELETE", f"{objects}/c")
    cloud.advance(6 * 24 * 3600)
    assert len(cloud.get(objects, softDeleted="true")["items"]) == 1
    cloud.advance(2 * 24 * 3600)
    assert "items" not in cloud.get(objects, softDeleted="true")


def test_without_soft_deletion_nothing_is_kept(cloud: CloudUnderTest, objects: str) -> None:
    policy = {"softDeletePolicy": {"retentionDurationSeconds": "0"}}
    assert cloud.ask("PATCH", f"{STORAGE}/results", policy).status_code == 200
    cloud.ask("DELETE", f"{objects}/a")
    assert "items" not in cloud.get(objects, softDeleted="true")
