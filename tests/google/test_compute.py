"""Quotas and failed operations, as the cloud reports them; operations that are lost or do not end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from runner.emulator.state.settings import CloudSettings
from runner.errors import CloudError, QuotaError, StockoutError, UnreachableError
from runner.google.compute import Compute
from runner.google.operations import GONE_ALREADY, Operations
from runner.google.rest import Api, Json
from runner.inventory.compute import LabelledCompute, scope_of
from runner.inventory.inventory import CloudInventory
from runner.model import names
from runner.model.catalog import MACHINE_TYPES
from runner.model.leftover import Kind
from runner.model.quota import find_rooms
from runner.model.stockout import Quota, Stockout, classify
from tests.emulator.conftest import CloudUnderTest, vm_body

PROJECT = "local-project"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudUnderTest]:
    running = CloudUnderTest(CloudSettings(state=tmp_path / "state")).start()
    yield running
    running.stop()


@pytest.fixture
def api(cloud: CloudUnderTest) -> Api:
    return Api(f"{cloud.url}/compute/v1", cloud.new_session)


@pytest.fixture
def compute(api: Api) -> Compute:
    return Compute(api, PROJECT)


def test_quotas_count_existing_resources(cloud: CloudUnderTest, compute: Compute) -> None:
    body = {"metric": "PREEMPTIBLE_CPUS", "limit": 20}
    assert cloud.ask("POST", "/_local/quotas", body).status_code == 200
    machine = MACHINE_TYPES["c2-standard-4"]
    assert find_rooms(compute.read_quotas("europe-west4"), machine, "spot", disk_gib=50)[0].vms == 5
    cloud.insert_vm("vm")
    quotas = {quota.metric: quota for quota in compute.read_quotas("europe-west4")}
    assert (quotas["PREEMPTIBLE_CPUS"].limit, quotas["PREEMPTIBLE_CPUS"].usage) == (20, 4)
    assert {"CPUS", "IN_USE_ADDRESSES", "SSD_TOTAL_GB", "INSTANCES"} <= set(quotas)
    assert find_rooms(list(quotas.values()), machine, "spot", disk_gib=50)[0].vms == 4


@pytest.mark.parametrize("has_details", [False, True])
def test_stockouts_are_read_from_the_operations(cloud: CloudUnderTest, compute: Compute, has_details: bool) -> None:
    cloud.fault(kind="stockout", match="b1-0$", details=has_details, zones_available=["europe-west4-b"])
    begun = datetime.now(UTC) - timedelta(seconds=1)
    cloud.insert_vm("b1-0")
    cloud.insert_vm("b1-1")
    (failed,) = compute.failed_operations(["b1-0", "b1-1"], since=begun)
    assert (failed.kind, failed.target, failed.zone) == ("insert", "b1-0", "europe-west4-a")
    assert isinstance(failed.refusal, Stockout)
    assert failed.refusal.zones_available == (("europe-west4-b",) if has_details else ())
    assert "does not have enough resources available" in failed.refusal.message
    assert compute.failed_operations(["b1-0"], since=datetime.now(UTC) + timedelta(seconds=60)) == []
    assert compute.failed_operations(["b2-0"], since=begun) == []


def test_quotas_are_read_from_the_operations(cloud: CloudUnderTest, compute: Compute) -> None:
    cloud.ask("POST", "/_local/quotas", {"metric": "PREEMPTIBLE_CPUS", "limit": 2})
    cloud.insert_vm("b1-0")
    (failed,) = compute.failed_operations(["b1-0"], since=datetime.now(UTC) - timedelta(seconds=60))
    assert isinstance(failed.refusal, Quota)
    assert (failed.refusal.metric, failed.refusal.limit, failed.refusal.region) == (
        *("PREEMPTIBLE_CPUS", 2.0, "europe-west4"),
    )


@pytest.mark.parametrize(
    ("fault", "kind", "meant"),
    [
        ({"kind": "stockout", "details": True, "zones_available": ["europe-west4-c"]}, StockoutError, Stockout),
        ({"kind": "quota"}, QuotaError, Quota),
        ({"kind": "failed_operation", "match": "insert .*/vm$"}, CloudError, object),
    ],
)
def test_the_error_of_an_operation_is_one_of_ours(
    cloud: CloudUnderTest, api: Api, fault: dict[str, object], kind: type[CloudError], meant: type
) -> None:
    cloud.fault(**fault)
    operation = api.post(f"projects/{PROJECT}/zones/europe-west4-a/instances", vm_body("vm"))
    with pytest.raises(kind) as caught:
        Operations(api, PROJECT).wait(operation)
    assert isinstance(classify(caught.value), meant)


def test_disks_have_their_size_and_users(api: Api, compute: Compute) -> None:
    body = vm_body("vm", labels={"app": names.APP})
    body["disks"][0]["initializeParams"]["labels"] = {"app": names.APP}
    zone = f"projects/{PROJECT}/zones/europe-west4-a"
    Operations(api, PROJECT).wait(api.post(f"{zone}/instances", body))
    free = {"name": "free", "sizeGb": "10", "labels": {"app": names.APP}}
    Operations(api, PROJECT).wait(api.post(f"{zone}/disks", free))
    found = CloudInventory([LabelledCompute(api, PROJECT)]).find([Kind.DISK], {"app": names.APP})
    listed = {(item.name, item.size_gib, item.users) for item in found.items}
    assert listed == {("vm", 50, ("europe-west4-a/vm",)), ("free", 10, ())}
    assert [vm.disk_gib for vm in compute.instances({"app": names.APP})] == [50]


def test_delete_returns_the_clouds_answer(cloud: CloudUnderTest, api: Api) -> None:
    operations = Operations(api, PROJECT)
    cloud.insert_vm("vm")
    path = "zones/europe-west4-a/instances/vm"
    assert operations.delete(path).startswith("operation-")
    assert operations.delete(path) == GONE_ALREADY
    cloud.insert_vm("vm")
    cloud.fault(kind="lost_operation", match="delete .*/vm$")
    assert "it no longer exists" in operations.delete(path)


def test_a_list_without_an_unreachable_zone_is_an_error(cloud: CloudUnderTest, api: Api, compute: Compute) -> None:
    cloud.insert_vm("vm", labels={"app": names.APP})
    source = LabelledCompute(api, PROJECT)
    cloud.fault(kind="partial_success", times=None)
    cloud.fault(kind="unreachable", match="instances zones/europe-west4-a", times=2)
    with pytest.raises(UnreachableError, match="zones/europe-west4-a"):
        compute.instances({"app": names.APP})
    found = CloudInventory([source]).find([Kind.INSTANCE], {"app": names.APP})
    assert (found.items, len(found.unread)) == ((), 1)
    assert [vm.name for vm in compute.instances({"app": names.APP})] == ["vm"]


def test_without_partial_success_google_is_asked_once_and_a_missing_zone_is_an_error(
    cloud: CloudUnderTest,
) -> None:
    asked: list[tuple[bool, int]] = []

    def noting_session() -> requests.Session:
        session = cloud.new_session()
        session.hooks["response"].append(
            lambda answer, **_: asked.append(("returnPartialSuccess" in answer.url, answer.status_code))
        )
        return session

    api = Api(f"{cloud.url}/compute/v1", noting_session)
    compute = Compute(api, PROJECT)
    cloud.insert_vm("vm", labels={"app": names.APP})
    assert [vm.name for vm in compute.instances({"app": names.APP})] == ["vm"]
    assert compute.failed_operations(["vm"], since=datetime.now(UTC) - timedelta(hours=1)) == []
    assert asked == [(True, 400), (False, 200), (False, 200)]
    cloud.fault(kind="unreachable", match="instances zones/europe-west4-a", times=None)
    with pytest.raises(CloudError, match="zones/europe-west4-a"):
        compute.instances({"app": names.APP})
    found = CloudInventory([LabelledCompute(api, PROJECT)]).find([Kind.INSTANCE], {"app": names.APP})
    assert (found.items, len(found.unread)) == ((), 1)


def test_another_refusal_of_a_list_is_not_mistaken_for_that(cloud: CloudUnderTest, compute: Compute) -> None:
    cloud.fault(kind="http", match="/aggregated/instances", status=400, reason="invalid", message="Invalid filter.")
    with pytest.raises(CloudError, match=r"Invalid filter\."):
        compute.instances({})


@pytest.mark.parametrize(
    "page",
    [
        {"unreachables": ["projects/p/zones/z"]},
        {"warning": {"code": "UNREACHABLE"}},
        {
            "items": {
                "zones/a": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
                "zones/z": {"warning": {"code": "UNREACHABLE"}},
            }
        },
    ],
)
def test_all_ways_in_which_google_reports_a_missing_zone(page: dict[str, object]) -> None:
    class OnePage(Api):
        def get(self, path: str, **params: str) -> Json:
            return page

    with pytest.raises(UnreachableError):
        Compute(OnePage("", requests.Session), PROJECT).instances({})


def test_an_operation_that_does_not_end_is_given_up(cloud: CloudUnderTest, api: Api) -> None:
    cloud.fault(kind="slow_operation", match="insert .*networks/n", delay_s=3600)
    operation = api.post(f"projects/{PROJECT}/global/networks", {"name": "n"})
    with pytest.raises(CloudError, match="is not done after"):
        Operations(api, PROJECT, limit_s=-1.0).wait(operation)


def test_a_wait_continues_after_a_dropped_connection(cloud: CloudUnderTest, api: Api) -> None:
    cloud.insert_vm("vm")
    cloud.fault(kind="drop", match="POST .*/wait")
    assert Operations(api, PROJECT).delete("zones/europe-west4-a/instances/vm").startswith("operation-")


def test_paths_depend_on_the_kind_of_resource_and_not_on_its_name() -> None:
    assert scope_of(Kind.INSTANCE, "europe-west4-a") == "zones/europe-west4-a"
    assert scope_of(Kind.ADDRESS, "europe-west4") == "regions/europe-west4"
    assert scope_of(Kind.DISK, "somewhere-new10-ab") == "zones/somewhere-new10-ab"
    assert scope_of(Kind.DISK, "a-b", is_regional=True) == "regions/a-b"
    assert scope_of(Kind.IMAGE, "") == "global"
