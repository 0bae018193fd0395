"""How refusals are classified, and where to try next."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import (
    CloudError,
    HpcError,
    PermissionDeniedError,
    QuotaError,
    StackError,
    StockoutError,
    UnreachableError,
)
from runner.model.catalog import MACHINE_TYPES
from runner.model.settings import Settings
from runner.model.stockout import (
    FailedOperation,
    Lost,
    Other,
    Permission,
    Placement,
    Quota,
    RateLimit,
    Stockout,
    classify,
    is_of_gone_vms,
    next_placement,
    order_zones,
    read_failure,
    same_shape,
)

PLUGIN_STOCKOUT = (
    "Error waiting for instance to create: The zone 'projects/p/zones/europe-west4-a' does not have enough resources "
    "available to fulfill the request.  Try a different zone, or try again later."
)
PLUGIN_QUOTA = (
    "Error waiting for instance to create: Quota 'PREEMPTIBLE_CPUS' exceeded.  Limit: 8.0 in region europe-west4.\n"
    "metric name = compute.googleapis.com/preemptible_cpus"
)
SETTINGS = Settings()
SOME_ZONES = Settings(zones=["europe-west4-b", "europe-west4-c"])


def operation(code: str, message: str = "words", **more: Any) -> dict[str, Any]:
    return {
        "operationType": "insert",
        "targetLink": "https://www.googleapis.com/compute/v1/projects/p/zones/europe-west4-a/instances/b1-0",
        "zone": "https://www.googleapis.com/compute/v1/projects/p/zones/europe-west4-a",
        "insertTime": "2026-11-22T10:00:00.000-00:00",
        "error": {"errors": [{"code": code, "message": message, **more}]},
    }


def details(zones: str) -> list[dict[str, Any]]:
    metadatas = {"attachment": "", "vmType": "c2-standard-4", "zone": "europe-west4-a", "zonesAvailable": zones}
    reason = {"reason": "resource_availability", "domain": "compute.googleapis.com", "metadatas": metadatas}
    return [{"help": {"links": []}}, {"localizedMessage": {"locale": "en-US", "message": "…"}}, {"errorInfo": reason}]


@pytest.mark.parametrize(
    ("code", "more", "zones"),
    [
        ("ZONE_RESOURCE_POOL_EXHAUSTED", {}, ()),
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", {"errorDetails": details("")}, ()),
        (
            "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
            {"errorDetails": details("europe-west4-b, europe-west4-c")},
            ("europe-west4-b", "europe-west4-c"),
        ),
    ],
)
def test_both_codes_are_stockouts_with_the_zones_that_are_proposed(
    code: str, more: dict[str, Any], zones: tuple[str, ...]
) -> None:
    failed = read_failure(operation(code, **more))
    assert failed == FailedOperation(
        kind="insert",
        target="b1-0",
        zone="europe-west4-a",
        asked="2026-11-22T10:00:00.000-00:00",
        refusal=Stockout(message="words", zone="europe-west4-a", zones_available=zones),
    )


def test_a_quota_has_metric_limit_and_region_from_words_or_details() -> None:
    by_words = read_failure(
        operation("QUOTA_EXCEEDED", "Quota 'C2_CPUS' exceeded.  Limit: 8.0 in region europe-west4.")
    )
    info = {"metricName": "compute.googleapis.com/c2_cpus", "limit": 8, "dimensions": {"region": "europe-west4"}}
    by_details = read_failure(operation("QUOTA_EXCEEDED", "other words", errorDetails=[{"quotaInfo": info}]))
    for failed in (by_words, by_details):
        assert failed is not None and isinstance(failed.refusal, Quota)
        assert (failed.refusal.metric, failed.refusal.limit, failed.refusal.region) == ("C2_CPUS", 8.0, "europe-west4")


def test_an_insert_whose_vm_disappeared_is_a_lost_vm() -> None:
    message = "The resource 'projects/p/zones/europe-west4-a/instances/b1-0' was not found"
    failed = read_failure(operation("RESOURCE_NOT_FOUND", message))
    assert failed is not None
    assert failed.refusal == Lost(message=message, vms=("b1-0",))
    words = StackError(f"up failed: Error waiting for instance to create: {message}")
    assert classify(words, [failed]) == Lost(message=message, vms=("b1-0",))
    assert classify(words) == Lost(message=str(words), vms=("b1-0",))
    image = read_failure(operation("RESOURCE_NOT_FOUND", "The resource 'projects/p/global/images/i' was not found"))
    assert image is not None and isinstance(image.refusal, Other)


def test_an_operation_without_an_error_has_not_failed() -> None:
    assert read_failure({"operationType": "insert", "status": "DONE"}) is None


@pytest.mark.parametrize(("code", "is_passing"), [("INTERNAL_ERROR", True), ("RESOURCE_NOT_FOUND", False)])
def test_other_codes_keep_their_messages(code: str, is_passing: bool) -> None:
    failed = read_failure(operation(code))
    assert failed is not None
    assert failed.refusal == Other(message=f"words ({code})", is_passing=is_passing)


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (StackError(f"up failed: {PLUGIN_STOCKOUT}"), Stockout),
        (StackError("up failed: one of two", diagnostics=[PLUGIN_QUOTA, PLUGIN_STOCKOUT]), Stockout),
        (StackError(f"up failed: {PLUGIN_QUOTA}"), Quota),
        (StackError("googleapi: Error 403: Required 'compute.instances.create' permission for 'x'"), Permission),
        (StackError("googleapi: Error 403: Rate Limit Exceeded, rateLimitExceeded"), RateLimit),
        (StackError("the engine was ended"), Other),
        (StockoutError(PLUGIN_STOCKOUT), Stockout),
        (QuotaError(PLUGIN_QUOTA, reason="quotaExceeded", status=403), Quota),
        (CloudError("slow down", reason="rateLimitExceeded", status=403), RateLimit),
        (CloudError("slow down", status=429), RateLimit),
        (PermissionDeniedError("no", reason="forbidden", status=403), Permission),
        (PermissionDeniedError("who", status=401), Permission),
        (CloudError("wrong field", reason="invalid", status=400), Other),
        (ValueError("whatever"), Other),
    ],
)
def test_errors_are_classified_and_their_messages_kept(error: Exception, meant: type) -> None:
    refusal = classify(error)
    assert type(refusal) is meant
    assert refusal.message


@pytest.mark.parametrize(
    ("error", "is_passing"),
    [
        (UnreachableError("no answer"), True),
        (CloudError("backend", reason="backendError", status=503), True),
        (CloudError("wrong field", reason="invalid", status=400), False),
    ],
)
def test_what_may_pass_is_said_so(error: HpcError, is_passing: bool) -> None:
    refusal = classify(error)
    assert isinstance(refusal, Other)
    assert refusal.is_passing is is_passing


def test_the_words_of_the_plugin_name_zone_metric_and_limit() -> None:
    stockout, quota = classify(StackError(PLUGIN_STOCKOUT)), classify(StackError(PLUGIN_QUOTA))
    assert isinstance(stockout, Stockout) and stockout.zone == "europe-west4-a"
    assert isinstance(quota, Quota) and (quota.metric, quota.limit) == ("PREEMPTIBLE_CPUS", 8.0)


def test_operations_know_better_than_the_words() -> None:
    code = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    failed = read_failure(operation(code, errorDetails=details("europe-west4-c")))
    assert failed is not None
    refusal = classify(StackError("1 error occurred"), [failed])
    assert isinstance(refusal, Stockout) and refusal.zones_available == ("europe-west4-c",)


def test_zones_are_tried_then_machine_types_of_the_same_shape() -> None:
    tried: list[Placement] = []
    while (placement := next_placement(tried, SETTINGS)) is not None:
        tried.append(placement)
    assert [placement.zone for placement in tried[:3]] == ["europe-west4-a", "europe-west4-b", "europe-west4-c"]
    assert {placement.machine_type for placement in tried[:3]} == {"c2-standard-4"}
    assert [placement.machine_type for placement in tried[3:]] == [
        name for name in same_shape("c2-standard-4")[1:] for _ in "abc"
    ]
    assert len(set(tried)) == len(tried)


def test_proposed_zones_go_first_where_they_are_allowed() -> None:
    first = Placement(zone="europe-west4-a", machine_type="c2-standard-4")
    assert next_placement([first], SETTINGS, ["europe-west4-c"]) == Placement(
        zone="europe-west4-c", machine_type="c2-standard-4"
    )
    assert order_zones(SOME_ZONES, ["europe-west4-a", "europe-west4-c"]) == ["europe-west4-c", "europe-west4-b"]
    assert order_zones(SETTINGS, ["us-central1-a"]) == SETTINGS.zones_to_try


def test_the_machine_type_that_is_wanted_counts() -> None:
    assert next_placement([], SETTINGS, machine_type="n2-standard-8") == Placement(
        zone="europe-west4-a", machine_type="n2-standard-8"
    )


@pytest.mark.parametrize("name", list(MACHINE_TYPES))
def test_what_stands_in_has_as_many_cores_and_as_much_memory(name: str) -> None:
    wanted, *others = (MACHINE_TYPES[found] for found in same_shape(name))
    assert wanted.name == name
    for machine in others:
        assert wanted.cores <= machine.cores <= 2 * wanted.cores
        assert machine.ram_gib >= wanted.ram_gib
    prices = [machine.price_usd_per_hour for machine in others]
    assert prices == sorted(prices)


LOST = "Error waiting for instance to reach desired status RUNNING: couldn't find resource (21 retries)"
DELETED = "Error deleting instance: googleapi: Error 404: The resource 'projects/p/zones/z/instances/b1-0' was not found, notFound"
MEMBER = (
    'Error retrieving IAM policy for compute instance "projects/p/zones/z/instances/b1-0": googleapi: Error 404: The resource '
    "'projects/p/zones/z/instances/b1-0' was not found, notFound"
)


@pytest.mark.parametrize(
    ("texts", "is_expected"),
    [
        ((DELETED,), True),
        ((LOST, MEMBER, DELETED), True),
        ((DELETED.replace("b1-0", "b1-1"),), False),
        ((DELETED, "Error trying to delete bucket b: googleapi: Error 403"), False),
        ((DELETED.replace("instances/b1-0", "disks/b1-0"),), False),
        ((), False),
    ],
)
def test_an_engine_that_reports_only_vms_that_are_gone(texts: tuple[str, ...], is_expected: bool) -> None:
    error = StackError("up failed", diagnostics=texts)
    assert is_of_gone_vms(error, is_gone=lambda name: name == "b1-0") is is_expected
    mapped = CloudError("up failed")
    mapped.__cause__ = error
    assert is_of_gone_vms(mapped, is_gone=lambda name: name == "b1-0") is is_expected
