"""Settings: what is refused, and in which words."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest

from infra.analysis.program import declare as declare_analysis
from infra.base.program import declare as declare_base
from infra.image.program import declare as declare_image
from tests.infra.declared import BATCH, LOCATION, declare_with_mocks, of_type

Declare = Callable[[], None]
BAD: list[tuple[Declare, dict[str, str], str]] = [
    (declare_base, {"ssh_ranges": '["0.0.0.0/0"]'}, "opens SSH to the world"),
    (declare_base, {"ssh_ranges": '["::/0"]'}, "opens SSH to the world"),
    (declare_base, {"ssh_ranges": '["0.0.0.0/1", "128.0.0.0/1"]'}, "opensees-hpc:ssh_ranges[1]: 128.0.0.0/1 opens SSH"),
    (declare_base, {"ssh_ranges": '["35.0.0.0/8"]'}, "opens SSH to the world"),
    (declare_base, {"ssh_ranges": '["home"]'}, "not an address range"),
    (declare_base, {"ssh_ranges": "198.51.100.7/32"}, "opensees-hpc:ssh_ranges: Input should be a valid tuple"),
    (declare_base, {"operators": '["you@example.com"]'}, "a principal is user:NAME@DOMAIN"),
    (declare_base, {"operators": '["allUsers"]'}, "a principal is user:NAME@DOMAIN"),
    (declare_base, {"subnet_range": "8.8.8.0/24"}, "a private range"),
    (declare_base, {"subnet_range": "10.80.0.1/20"}, "host bits set"),
    (declare_base, {"results_days": "0"}, "greater than or equal to 1"),
    (declare_base, {"soft_delete_days": "3"}, "soft_delete_days is 0 or 7 to 90"),
    (declare_base, {"force_destroy": "true"}, "protect=false"),
    (declare_base, {"protect": "perhaps"}, "valid boolean"),
    (declare_base, {"owner": "Jane Doe"}, "not a label value"),
    (declare_base, {"protct": "false"}, "unknown key in Pulumi.b1.yaml; known are bucket_location"),
    (declare_analysis, {"count": "many"}, "valid integer"),
    (declare_analysis, {"count": "1000"}, "less than or equal to 200"),
    (declare_analysis, {"provisioning": "cheap"}, "'spot' or 'standard'"),
    (declare_analysis, {"machine_type": "; rm"}, "should match pattern"),
    (declare_analysis, {"max_run_seconds": "0"}, "greater than or equal to 120"),
    (declare_analysis, {"machines": '[{"name": "b1-0"}, {"name": "b1-0"}]'}, "more than once: b1-0"),
    (
        declare_analysis,
        {"machines": '[{"name": "b1-0"}]', "lease_s": "600"},
        "b1-0: with a lease a VM's name begins with opensees-hpc-",
    ),
    (declare_analysis, {"machines": '[{"name": "b1-0", "zone": "us-east1-b"}]'}, "us-east1-b is not in europe-west4"),
    (declare_analysis, {"machines": '[{"name": "B1"}]'}, "opensees-hpc:machines[0][name]"),
    (declare_analysis, {"machines": '[{"name": "b1-0", "gpu": 1}]'}, "opensees-hpc:machines[0][gpu]"),
    (declare_analysis, {"machines": "[{"}, "opensees-hpc:machines"),
    (declare_analysis, {"expires": "tomorrow"}, "opensees-hpc:expires"),
    (declare_analysis, {"expires": "2026-11-22T15:30"}, "timezone"),
    (declare_image, {"image_name": "my-image"}, "starts with opensees-hpc-"),
    (declare_image, {"image_from_disk": "4711"}, "image_from_disk needs image_name"),
    (declare_image, {"disk_gib": "1"}, "greater than or equal to 10"),
    (declare_image, {"image_labels": '{"OpenSees": "3.7"}'}, "opensees-hpc:image_labels"),
]


@pytest.mark.parametrize(("declare", "settings", "words"), BAD, ids=[str(settings) for _, settings, _ in BAD])
def test_a_bad_setting_is_refused_by_key_and_remedy(declare: Declare, settings: dict[str, str], words: str) -> None:
    common = {} if declare is declare_base else BATCH
    config = LOCATION | common | {f"opensees-hpc:{key}": value for key, value in settings.items()}
    with pytest.raises(pulumi.RunError) as caught:
        declare_with_mocks(declare, stack="b1", config=config)
    message = str(caught.value)
    assert words in message
    assert "nothing was declared" in message
    assert "Pulumi.b1.yaml" in message


def test_all_missing_settings_are_reported_together() -> None:
    with pytest.raises(pulumi.RunError) as caught:
        declare_with_mocks(declare_analysis, stack="b1", config={"gcp:region": "europe-west4"})
    for key in ("gcp:project", "opensees-hpc:owner", "opensees-hpc:expires"):
        assert f"{key}: is not set; in Pulumi.b1.yaml; remedy: pulumi config set {key} VALUE" in str(caught.value)


@pytest.mark.parametrize("name", ["B1", "1b", "b_1", "b" * 41, "b1-"])
def test_a_stack_whose_name_cannot_be_a_label_is_refused(name: str) -> None:
    with pytest.raises(pulumi.RunError, match="pulumi stack init NAME"):
        declare_with_mocks(declare_analysis, stack=name, config=LOCATION | BATCH)


def test_a_region_is_enough_and_a_zone_too() -> None:
    by_region = {"gcp:project": "local-project", "gcp:region": "europe-west4"}
    by_zone = {"gcp:project": "local-project", "gcp:zone": "europe-west4-c"}
    for config, zone in ((by_region, "europe-west4-b"), (by_zone, "europe-west4-c")):
        resources = declare_with_mocks(declare_analysis, stack="b1", config=config | BATCH)
        assert of_type(resources, ":Instance")[0].inputs["zone"] == zone


def test_an_expiry_may_be_given_as_a_time() -> None:
    config = LOCATION | BATCH | {"opensees-hpc:expires": "2026-11-22T17:30:00+02:00"}
    resources = declare_with_mocks(declare_analysis, stack="b1", config=config)
    assert of_type(resources, ":Instance")[0].inputs["labels"]["expires"] == "20261122-1530"


def test_a_vm_may_have_an_expiry_of_its_own() -> None:
    machines = '[{"name": "b1-0"}, {"name": "b1-1", "expires": "20261123-0400"}]'
    resources = declare_with_mocks(
        declare_analysis, stack="b1", config=LOCATION | BATCH | {"opensees-hpc:machines": machines}
    )
    found = {vm.name: vm.inputs["labels"]["expires"] for vm in of_type(resources, ":Instance")}
    assert found == {"b1-0": "20261122-1530", "b1-1": "20261123-0400"}


def test_a_disk_that_is_not_the_baked_one_becomes_no_image() -> None:
    second = {"opensees-hpc:image_from_disk": "42", "opensees-hpc:image_name": "opensees-hpc-1"}
    with pytest.raises(pulumi.RunError, match="the builder was lost after the bake"):
        declare_with_mocks(declare_image, stack="bake-1", config=LOCATION | BATCH | second)


@pytest.mark.parametrize("project", ["base", "image", "analysis"])
def test_the_entry_point_only_composes(project: str) -> None:
    entry = Path(__file__).parents[2] / "infra" / project / "__main__.py"
    statements = ast.parse(entry.read_text(encoding="utf-8")).body
    assert not [node for node in statements if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If)]
    assert len(statements) <= 6
