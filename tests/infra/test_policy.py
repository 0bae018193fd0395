"""What must hold of everything that is ever declared, whatever the settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from infra.analysis.program import declare as declare_analysis
from infra.base.program import declare as declare_base
from infra.image.program import declare as declare_image
from runner.emulator.iam.conditions import condition_holds, describe_resource
from runner.model import names
from runner.model.settings import IAP_RANGE
from tests.infra.declared import BATCH, LOCATION, Resource, declare_with_mocks, of_type

OPERATOR = "user:you@example.com"
TAKES_LABELS = (":Bucket", ":Instance", ":Disk", ":Image")
TAKES_NONE = (
    *(":Network", ":Subnetwork", ":Firewall", ":Router", ":RouterNat", ":Account", ":Service"),
    *(":IAMMember", ":BucketIAMMember", ":IAMCustomRole"),
)

Declare = Callable[[], None]
Case = tuple[Declare, str, Mapping[str, str]]


def _ours(**settings: object) -> dict[str, str]:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    return {f"opensees-hpc:{key}": text for key, text in texts.items()}


MACHINES = [
    {"name": "opensees-hpc-b1-a"},
    {
        "name": "opensees-hpc-b1-b",
        "zone": "europe-west4-c",
        "machine_type": "n2-standard-8",
        "provisioning": "standard",
    },
]
CASES: dict[str, Case] = {
    "base as it comes": (declare_base, "base", LOCATION),
    "base behind a tunnel": (declare_base, "base", LOCATION | _ours(operators=[OPERATOR], external_ips=False)),
    "base opened to one address": (
        declare_base,
        "base",
        LOCATION | _ours(operators=[OPERATOR], ssh_ranges=["198.51.100.7/32"], protect=False, force_destroy=True),
    ),
    "bake, first phase": (declare_image, "bake-1", LOCATION | BATCH),
    "bake, second phase": (
        declare_image,
        "bake-1",
        LOCATION
        | BATCH
        | _ours(image_from_disk="4711", image_name="opensees-hpc-1", image_labels={"opensees": "3-7-1"}),
    ),
    "batch of three": (declare_analysis, "b1", LOCATION | BATCH | _ours(count=3)),
    "batch of listed VMs": (declare_analysis, "b1", LOCATION | BATCH | _ours(machines=MACHINES, external_ip=False)),
    "batch with a lease": (declare_analysis, "b1", LOCATION | BATCH | _ours(count=2, lease_s=600)),
    "batch on demand": (declare_analysis, "b1", LOCATION | BATCH | _ours(provisioning="standard")),
}


@pytest.fixture(params=CASES, scope="module")
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    declare, stack, config = CASES[request.param]
    return declare_with_mocks(declare, stack=stack, config=config)


def declared(case: str) -> list[Resource]:
    declare, stack, config = CASES[case]
    return declare_with_mocks(declare, stack=stack, config=config)


def test_every_type_is_known_to_take_labels_or_not(resources: list[Resource]) -> None:
    types = {f":{resource.type.rsplit(':', 1)[1]}" for resource in resources if resource.type.startswith("gcp:")}
    assert types <= {*TAKES_LABELS, *TAKES_NONE}


def test_everything_that_can_be_labelled_is(resources: list[Resource]) -> None:
    for resource in resources:
        if resource.type.endswith(TAKES_LABELS):
            assert resource.inputs["labels"]["app"] == names.APP, resource.name
            assert resource.inputs["labels"]["owner"], resource.name


def test_what_expires_has_its_expiry_as_a_label(resources: list[Resource]) -> None:
    for resource in resources:
        if resource.type.endswith((":Instance", ":Disk")):
            assert resource.inputs["labels"]["expires"] == "20261122-1530"
            assert {"batch", "bake"} & set(resource.inputs["labels"])


def test_boot_disks_created_by_their_vm_are_labelled_too(resources: list[Resource]) -> None:
    for instance in of_type(resources, ":Instance"):
        if "initializeParams" in instance.inputs["bootDisk"]:
            assert instance.inputs["bootDisk"]["initializeParams"]["labels"] == instance.inputs["labels"]


def test_buckets_are_private_and_end(resources: list[Resource]) -> None:
    for bucket in of_type(resources, ":Bucket"):
        assert bucket.inputs["uniformBucketLevelAccess"] is True
        assert bucket.inputs["publicAccessPrevention"] == "enforced"
        assert "Delete" in [rule["action"]["type"] for rule in bucket.inputs["lifecycleRules"]]
        assert "softDeletePolicy" in bucket.inputs


def test_nothing_is_granted_to_everybody(resources: list[Resource]) -> None:
    for resource in resources:
        assert resource.inputs.get("member") not in ("allUsers", "allAuthenticatedUsers")


def test_the_service_account_may_use_its_bucket_and_delete_vms_of_batches_and_nothing_else(
    resources: list[Resource],
) -> None:
    account = f"serviceAccount:{names.service_account_email('local-project')}"
    for grant in (resource for resource in resources if resource.inputs.get("member") == account):
        if grant.type.endswith(":projects/iAMMember:IAMMember"):
            assert grant.inputs["role"] == names.self_delete_role("local-project")
            assert grant.inputs["condition"]["expression"] == names.self_delete_condition()
        else:
            assert grant.type.endswith(":BucketIAMMember")
            assert grant.inputs["bucket"] == names.bucket_name("local-project")
            assert grant.inputs["role"] in ("roles/storage.objectCreator", "roles/storage.objectViewer")


def test_the_role_of_a_vm_on_itself_is_to_look_and_to_delete() -> None:
    [role] = of_type(declared("base as it comes"), ":IAMCustomRole")
    assert role.inputs["roleId"] == names.SELF_DELETE_ROLE_ID
    assert set(role.inputs["permissions"]) == {"compute.instances.get", "compute.instances.delete"}


def test_the_role_may_have_another_id() -> None:
    resources = declare_with_mocks(declare_base, stack="base", config=LOCATION | _ours(self_delete_role_id="other"))
    [role] = of_type(resources, ":IAMCustomRole")
    assert role.inputs["roleId"] == "other"


def test_vms_may_delete_themselves_before_there_is_one() -> None:
    """A client that dies while VMs are being created can grant nothing any more: a batch's stack has no grants at all."""
    account = f"serviceAccount:{names.service_account_email('local-project')}"
    grants = [one for one in of_type(declared("base as it comes"), ":IAMMember") if one.inputs["member"] == account]
    assert len(grants) == 1
    resources = declared("batch with a lease")
    assert [one for one in resources if "IAM" in one.type] == []
    for vm in of_type(resources, ":Instance"):
        path = f"projects/local-project/zones/{vm.inputs['zone']}/instances/{vm.inputs['name']}"
        assert condition_holds(grants[0].inputs["condition"]["expression"], describe_resource(path, datetime.now(UTC)))


def test_vms_of_a_batch_with_a_lease_watch_it() -> None:
    resources = declared("batch with a lease")
    for instance in of_type(resources, ":Instance"):
        metadata = instance.inputs["metadata"]
        assert (metadata[names.VM_BATCH], metadata[names.VM_LEASE_S]) == ("b1", "600")
        assert metadata[names.VM_BUCKET] == names.bucket_name("local-project")
        assert "watch-lease" in metadata["startup-script"]
        assert "on-shutdown" in metadata["shutdown-script"]


def test_vms_created_by_hand_watch_no_lease() -> None:
    resources = declared("batch of three")
    for instance in of_type(resources, ":Instance"):
        assert not {names.VM_LEASE_S, "startup-script"} & set(instance.inputs["metadata"])
        assert "on-shutdown" in instance.inputs["metadata"]["shutdown-script"]


def test_only_operators_have_roles_in_the_whole_project(resources: list[Resource]) -> None:
    for grant in of_type(resources, ":IAMMember"):
        assert grant.inputs["member"] == OPERATOR or grant.inputs["condition"]["expression"]


def test_only_ssh_from_the_operator_is_admitted(resources: list[Resource]) -> None:
    for firewall in of_type(resources, ":Firewall"):
        assert firewall.inputs["direction"] == "INGRESS"
        assert firewall.inputs["allows"] == [{"protocol": "tcp", "ports": ["22"]}]
        assert set(firewall.inputs["sourceRanges"]) <= {IAP_RANGE, "198.51.100.7/32"}
        assert firewall.inputs["targetTags"] == [names.NETWORK_TAG]


def test_every_vm_is_spot_or_was_asked_for_otherwise(resources: list[Resource], request: pytest.FixtureRequest) -> None:
    config = CASES[request.node.callspec.params["resources"]][2]
    asked = config.get("opensees-hpc:provisioning") == "standard"
    for instance in of_type(resources, ":Instance"):
        listed = [item for item in MACHINES if item["name"] == instance.name and item.get("provisioning") == "standard"]
        scheduling = instance.inputs["scheduling"]
        spot = (scheduling["provisioningModel"], scheduling["preemptible"]) == ("SPOT", True)
        assert spot != bool(asked or listed)


def test_every_vm_has_an_end(resources: list[Resource]) -> None:
    for instance in of_type(resources, ":Instance"):
        scheduling = instance.inputs["scheduling"]
        assert 120 <= scheduling["maxRunDuration"]["seconds"] <= 7 * 24 * 3600
        assert scheduling["instanceTerminationAction"] == "DELETE"
        assert scheduling["automaticRestart"] is False
        assert instance.inputs["bootDisk"]["autoDelete"] is True
        assert not instance.inputs.get("attachedDisks") and not instance.inputs.get("scratchDisks")


def test_every_vm_is_logged_in_to_by_os_login_only(resources: list[Resource]) -> None:
    for instance in of_type(resources, ":Instance"):
        metadata = instance.inputs["metadata"]
        assert metadata["enable-oslogin"] == metadata["block-project-ssh-keys"] == "TRUE"
        assert metadata["enable-guest-attributes"] == "TRUE"
        assert "ssh-keys" not in metadata
        assert instance.inputs["tags"] == [names.NETWORK_TAG]


def test_every_vm_is_shielded_and_runs_as_our_account(resources: list[Resource]) -> None:
    for instance in of_type(resources, ":Instance"):
        assert all(instance.inputs["shieldedInstanceConfig"].values())
        assert instance.inputs["serviceAccount"]["email"] == names.service_account_email("local-project")


def test_a_batch_has_the_vms_that_were_asked_for() -> None:
    alike = of_type(declared("batch of three"), ":Instance")
    assert sorted(instance.name for instance in alike) == [
        "opensees-hpc-b1-0",
        "opensees-hpc-b1-1",
        "opensees-hpc-b1-2",
    ]
    listed = {instance.name: instance.inputs for instance in of_type(declared("batch of listed VMs"), ":Instance")}
    assert listed["opensees-hpc-b1-a"]["zone"] == "europe-west4-a"
    assert (listed["opensees-hpc-b1-b"]["zone"], listed["opensees-hpc-b1-b"]["machineType"]) == (
        "europe-west4-c",
        "n2-standard-8",
    )
    assert all("accessConfigs" not in vm["networkInterfaces"][0] for vm in listed.values())


def test_a_vm_boots_from_the_family_so_that_a_new_image_replaces_nothing() -> None:
    instance = of_type(declared("batch of three"), ":Instance")[0]
    link = "projects/local-project/global/images/family/opensees-hpc"
    assert instance.inputs["bootDisk"]["initializeParams"]["image"] == link


def test_without_external_addresses_a_nat_connects_to_the_internet() -> None:
    assert of_type(declared("base behind a tunnel"), ":RouterNat")
    assert not of_type(declared("base as it comes"), ":RouterNat")


def test_the_image_is_created_in_the_second_phase_from_the_stopped_builder() -> None:
    first, second = declared("bake, first phase"), declared("bake, second phase")
    assert not of_type(first, ":Image")
    assert of_type(first, ":Instance")[0].inputs["desiredStatus"] == "RUNNING"
    assert of_type(second, ":Instance")[0].inputs["desiredStatus"] == "TERMINATED"
    image = of_type(second, ":Image")[0]
    assert (image.name, image.inputs["family"]) == ("opensees-hpc-1", names.IMAGE_FAMILY)
    assert image.inputs["labels"]["opensees"] == "3-7-1"
    assert "expires" not in image.inputs["labels"]
    assert image.inputs["sourceDisk"].endswith("/bake-1-builder")
