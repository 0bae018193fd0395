"""IAM conditions: Google's examples, and the one by which VMs may delete themselves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.emulator.iam.conditions import (
    MOST_OPERATORS,
    compile_condition,
    condition_holds,
    describe_resource,
    extract,
)
from runner.model import names

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
ZONE = "projects/p/zones/europe-west4-a"
VM = f"{ZONE}/instances/b1-0"
OBJECT = "projects/_/buckets/acme-orders-aaa/objects/data_lake/orders/order_date=2026-11-03/aef87g87ae0876"
BATCHES = st.from_regex(names.BATCH_NAME, fullmatch=True)
RESOURCES = st.from_regex(names.RESOURCE_NAME, fullmatch=True)


def holds(expression: str, resource: str) -> bool:
    return condition_holds(expression, describe_resource(resource, NOW))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f'resource.name == "{VM}"', True),
        ("resource.name.endsWith('instances/b1-0')", True),
        (f'resource.name.startsWith("{ZONE}/instances/b1-")', True),
        (f'resource.name.startsWith("{ZONE}/instances/b2-")', False),
        ('resource.type == "compute.googleapis.com/Instance" && resource.name.endsWith("b1-0")', True),
        ('resource.type == "compute.googleapis.com/Disk" && resource.name.endsWith("b1-0")', False),
        ('resource.type == "x" || resource.name.endsWith("b1-0")', True),
        ('(resource.type == "x" || resource.name.endsWith("b1-0")) && resource.type == "x"', False),
        ('resource.type == "x" && resource.type == "x" || resource.name.endsWith("b1-0")', True),
        ('!resource.name.endsWith("b1-0")', False),
        ('!(resource.type == "x")', True),
        ('resource.name != "x"', True),
        ('resource.service == "compute.googleapis.com"', True),
        ('resource.type in ["compute.googleapis.com/Disk", "compute.googleapis.com/Instance"]', True),
        ('resource.type in ["compute.googleapis.com/Disk"]', False),
        ('resource.name.extract("/zones/{zone}/") == "europe-west4-a"', True),
        ('resource.name.extract("/instances/{name}").startsWith("b1-")', True),
        ('request.time < timestamp("2030-01-01T00:00:00Z")', True),
        ('request.time >= timestamp("2030-01-01T00:00:00Z")', False),
    ],
)
def test_condition(expression: str, expected: bool) -> None:
    assert holds(expression, VM) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "resource.name",
        "resource.name ==",
        'resource.name.matches("b.*")',
        'resource.size == "1"',
        'resource.name.startsWith("a',
        '(resource.name == "a"',
        'resource.name == "a" resource.name == "b"',
        'request.time < "2030-01-01T00:00:00Z"',
        'request.time < timestamp("tomorrow")',
        'request.time < timestamp("2030-01-01T00:00:00")',
        'resource.name.extract("/orders/{date}/{id}") == "a"',
        'resource.name.extract("/orders/{date") == "a"',
        " || ".join(['resource.name == "a"'] * (MOST_OPERATORS + 2)),
    ],
)
def test_invalid_condition_grants_nothing(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        compile_condition(expression)
    assert not holds(expression, VM)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("/order_date={date}/", "2026-11-03"),
        ("buckets/{name}/", "acme-orders-aaa"),
        ("/orders/{empty}order_date", ""),
        ("{start}/objects/data_lake", "projects/_/buckets/acme-orders-aaa"),
        ("orders/{end}", "order_date=2026-11-03/aef87g87ae0876"),
        ("{all}", OBJECT),
        ("/orders/{none}/order_date=", ""),
    ],
)
def test_extract(template: str, expected: str) -> None:
    assert extract(OBJECT, template) == expected


@pytest.mark.parametrize(
    "resource",
    ["projects/p", "projects/p/zones/z/operations/instances", "projects/p/serviceAccounts/a@b", "projects/p/roles/r"],
)
def test_resource_of_a_type_that_google_does_not_list_has_no_name(resource: str) -> None:
    assert not holds('resource.name.startsWith("projects/")', resource)


@given(batch=BATCHES, index=st.integers(0, 99_999), zone=st.sampled_from(["europe-west4-a", "us-central1-f"]))
def test_every_vm_of_every_batch_may_delete_itself(batch: str, index: int, zone: str) -> None:
    name = names.instance_name(batch, index)
    assert names.RESOURCE_NAME.fullmatch(name)
    assert holds(names.self_delete_condition(), f"projects/my-project/zones/{zone}/instances/{name}")


@given(name=RESOURCES, batch=BATCHES)
@example(name="b-0", batch="b")
@example(name="x-opensees-hpc-b-0", batch="b")
@example(name="opensees-hpc", batch="instances")
def test_other_instances_may_not_be_deleted(name: str, batch: str) -> None:
    condition, ours = names.self_delete_condition(), names.instance_name(batch, 0)
    if not name.startswith(names.VM_PREFIX):
        assert not holds(condition, f"{ZONE}/instances/{name}")
    assert not holds(condition, f"{ZONE}/instances/{names.builder_name(names.bake_name(NOW))}")
    for other in (
        f"{ZONE}/disks/{ours}",
        f"projects/p/global/images/{ours}",
        f"{ZONE}/operations/{ours}",
        "projects/p",
    ):
        assert not holds(condition, other)
    assert not holds(condition, f"projects/_/buckets/b/objects/{ours}/instances/{ours}")


@given(one=BATCHES, other=BATCHES, index=st.integers(0, 999), other_index=st.integers(0, 999))
@example(one="a", other="a-0", index=0, other_index=1)
@example(one="a-0", other="a-0-0", index=0, other_index=0)
def test_vms_of_two_batches_never_have_the_same_name(one: str, other: str, index: int, other_index: int) -> None:
    is_same = names.instance_name(one, index) == names.instance_name(other, other_index)
    assert is_same is ((one, index) == (other, other_index))
