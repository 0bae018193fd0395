"""The real programs on the real engine and the embedded cloud: what ``up`` and ``destroy`` do, by task and by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from runner.errors import ConflictError, HpcError, PermissionDeniedError, QuotaError, StackError, StockoutError
from runner.model import names
from runner.stacks.contract import ProjectName, StackProgress, StackSpec
from runner.stacks.pulumi import EngineSite, PulumiStacks
from tests.infra.conftest import CloudUnderTest
from tests.infra.declared import BATCH, LOCATION
from tests.infra.engine import ROOT, find_changes

LIMIT_S = 60.0
# As `invoke env` sets them for the embedded cloud: else the plugin is looked for on the network.
SHELL = {"PULUMI_SKIP_UPDATE_CHECK": "1", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}
IMAGE = "opensees-hpc-20261122-101500"
INSERTS = r"^POST .*/instances(\?|$)"
FORBIDDEN: dict[str, Any] = {"kind": "http", "status": 403, "reason": "forbidden", "message": "Required 'x' permission"}


def spec(project: ProjectName, name: str, **settings: object) -> StackSpec:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    common = {} if project == "base" else BATCH
    return StackSpec(
        project=project,
        name=name,
        config=LOCATION | common | {f"opensees-hpc:{key}": text for key, text in texts.items()},
    )


def ignore(progress: StackProgress) -> None:
    """Ignore progress."""


def run_by_hand(site: EngineSite, project: str, *command: str, **env: str) -> str:
    """Return what ``pulumi`` prints in a folder of ``infra/``, in a shell as ``invoke env`` starts it."""
    venv_bin = os.path.dirname(sys.executable)  # noqa: PTH120  (a resolved path would leave the environment)
    path = os.pathsep.join([venv_bin, str(site.cli_bin), site.env["PATH"]])
    done = subprocess.run(
        [site.cli_bin / "pulumi", "--non-interactive", *command],
        cwd=site.infra / project,
        env=dict(site.env) | {"PATH": path} | SHELL | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def no_faults(cloud: CloudUnderTest) -> Iterator[None]:
    yield
    cloud.disarm()


@pytest.fixture(scope="module")
def base(stacks: PulumiStacks) -> StackSpec:
    """Return the base stack, there for all tests of the module."""
    base = spec("base", "base", protect=False, force_destroy=True)
    stacks.up(base, ignore)
    return base


@pytest.fixture(scope="module")
def image(stacks: PulumiStacks, base: StackSpec, cloud: CloudUnderTest) -> str:
    """Return an image of the family, created by the image stack in its two phases; builder and stack are deleted."""
    first = stacks.up(spec("image", "bake-1"), ignore)
    assert cloud.names("instances", "disks") == {"bake-1-builder"}
    second = spec("image", "bake-1", image_from_disk=first["disk_id"], image_name=IMAGE)
    assert stacks.up(second, ignore)["image_name"] == IMAGE
    assert find_changes(stacks, second) == set()
    retained: list[StackProgress] = []
    stacks.destroy("image", "bake-1", retained.append)
    stacks.remove("image", "bake-1")
    assert (IMAGE, "retain") in {(step.name, step.op) for step in retained}
    assert cloud.names("instances", "disks") == set()
    assert cloud.names("images") == {IMAGE}
    return IMAGE


def test_the_base_stack_is_created_once_and_is_the_same_by_hand(
    stacks: PulumiStacks, base: StackSpec, site: EngineSite, cloud: CloudUnderTest
) -> None:
    assert stacks.outputs("base", "base") == stacks.up(base, ignore)
    outputs = stacks.outputs("base", "base")
    assert outputs is not None and outputs["settings"] == {"protect": False, "force_destroy": True}
    assert find_changes(stacks, base) == set()
    for arguments in (["preview"], ["preview", "--refresh"], ["refresh", "--yes"], ["up", "--yes"]):
        run_by_hand(site, "base", *arguments, "--stack", "base", "--expect-no-changes")
    assert find_changes(stacks, base) == set()
    assert cloud.names("networks", "firewalls") >= {names.NETWORK, names.SSH_FIREWALL}


def test_the_bucket_is_protected_until_a_setting_says_otherwise(stacks: PulumiStacks, base: StackSpec) -> None:
    stacks.up(spec("base", "base"), ignore)
    with pytest.raises(StackError) as caught:
        stacks.destroy("base", "base", ignore)
    assert "protect to false" in caught.value.remedy
    stacks.up(base, ignore)


def test_a_batch_is_created_and_destroyed(
    stacks: PulumiStacks, image: str, site: EngineSite, cloud: CloudUnderTest
) -> None:
    batch = spec("analysis", "b1", count=2)
    seen: list[StackProgress] = []
    outputs = stacks.up(batch, seen.append)
    created = {step.name: step for step in seen if step.state == "done" and step.type.endswith(":Instance")}
    assert set(created) == {"opensees-hpc-b1-0", "opensees-hpc-b1-1"} == cloud.names("instances")
    instances = outputs["instances"]
    assert isinstance(instances, list)
    assert [(vm["name"], vm["zone"]) for vm in instances] == [
        ("opensees-hpc-b1-0", "europe-west4-a"),
        ("opensees-hpc-b1-1", "europe-west4-a"),
    ]
    assert all(vm["address"].startswith("127.") and vm["image"].endswith(f"/{image}") for vm in instances)
    assert stacks.outputs("analysis", "b1") == {"instances": instances}, "nothing of it is shown as a secret"
    run_by_hand(site, "analysis", "preview", "--refresh", "--stack", "b1", "--expect-no-changes")
    stacks.destroy("analysis", "b1", ignore)
    stacks.remove("analysis", "b1")
    assert cloud.names("instances", "disks") == set()


def test_a_vm_that_is_gone_does_not_keep_its_stack(stacks: PulumiStacks, image: str, cloud: CloudUnderTest) -> None:
    batch = spec("analysis", "b2", count=2)
    stacks.up(batch, ignore)
    cloud.delete_instance("opensees-hpc-b2-0")
    assert find_changes(stacks, batch) == {("opensees-hpc-b2-0", "create")}
    assert cloud.names("instances") == {"opensees-hpc-b2-0", "opensees-hpc-b2-1"}
    cloud.delete_instance("opensees-hpc-b2-0")
    cloud.delete_instance("opensees-hpc-b2-1")
    stacks.destroy("analysis", "b2", ignore)
    stacks.remove("analysis", "b2")
    assert cloud.names("instances", "disks") == set()


def test_the_right_of_vms_to_delete_themselves_is_in_the_base(
    stacks: PulumiStacks, base: StackSpec, cloud: CloudUnderTest
) -> None:
    bindings = [one for one in cloud.project_policy()["bindings"] if "condition" in one]
    member = f"serviceAccount:{names.service_account_email('local-project')}"
    assert [(one["role"], one["members"]) for one in bindings] == [(names.self_delete_role("local-project"), [member])]
    assert bindings[0]["condition"]["expression"] == names.self_delete_condition()
    outputs = stacks.outputs("base", "base")
    assert outputs is not None and outputs["self_delete_condition"] == names.self_delete_condition()


def test_a_removed_grant_is_restored_beside_what_others_write_at_the_same_time(
    stacks: PulumiStacks, base: StackSpec, cloud: CloudUnderTest
) -> None:
    policy = cloud.project_policy()
    kept = [one for one in policy["bindings"] if "condition" not in one]
    theirs = {"role": "roles/viewer", "members": ["user:you@example.com"]}
    cloud.set_project_policy(policy | {"bindings": [*kept, theirs]})
    cloud.arm("http", match="POST .*:setIamPolicy", status=409, reason="aborted", times=3)
    stacks.up(base, ignore)
    bindings = cloud.project_policy()["bindings"]
    assert theirs in bindings
    assert [one["role"] for one in bindings if "condition" in one] == [names.self_delete_role("local-project")]
    cloud.set_project_policy(policy | {"etag": cloud.project_policy()["etag"]})


def test_a_batch_whose_vms_have_deleted_themselves_can_be_destroyed(
    stacks: PulumiStacks, image: str, site: EngineSite, cloud: CloudUnderTest
) -> None:
    batch = spec("analysis", "leased", count=2, lease_s=600)
    stacks.up(batch, ignore)
    run_by_hand(site, "analysis", "preview", "--refresh", "--stack", "leased", "--expect-no-changes")
    cloud.delete_instance("opensees-hpc-leased-1")
    stacks.up(batch, ignore)
    assert cloud.names("instances") == {"opensees-hpc-leased-0", "opensees-hpc-leased-1"}
    cloud.delete_instance("opensees-hpc-leased-0")
    stacks.destroy("analysis", "leased", ignore)
    stacks.remove("analysis", "leased")
    assert cloud.names("instances", "disks") == set()


def test_a_new_image_replaces_no_vm(stacks: PulumiStacks, image: str, cloud: CloudUnderTest) -> None:
    batch = spec("analysis", "b3")
    stacks.up(batch, ignore)
    first = stacks.up(spec("image", "bake-2"), ignore)
    newer = spec("image", "bake-2", image_from_disk=first["disk_id"], image_name="opensees-hpc-20261123-101500")
    stacks.up(newer, ignore)
    assert find_changes(stacks, batch) == set()
    stacks.destroy("image", "bake-2", ignore)
    stacks.remove("image", "bake-2")
    stacks.destroy("analysis", "b3", ignore)
    stacks.remove("analysis", "b3")


def test_a_builder_lost_after_the_bake_becomes_no_image(
    stacks: PulumiStacks, base: StackSpec, cloud: CloudUnderTest
) -> None:
    first = stacks.up(spec("image", "bake-3"), ignore)
    cloud.delete_instance("bake-3-builder")
    assert "bake-3-builder" not in cloud.names("disks")
    second = spec("image", "bake-3", image_from_disk=first["disk_id"], image_name="opensees-hpc-never")
    with pytest.raises(StackError, match="the builder was lost after the bake"):
        stacks.up(second, ignore)
    assert "opensees-hpc-never" not in cloud.names("images")
    stacks.destroy("image", "bake-3", ignore)
    stacks.remove("image", "bake-3")
    assert cloud.names("instances", "disks") == set()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "stockout"}, StockoutError),
        ({"kind": "quota"}, QuotaError),
        ({"kind": "quota", "form": "http"}, QuotaError),
        (FORBIDDEN, PermissionDeniedError),
        ({"kind": "http", "status": 409, "reason": "alreadyExists", "message": "it already exists"}, ConflictError),
    ],
    ids=["stockout", "quota", "quota by HTTP", "permission", "exists"],
)
def test_refusals_of_the_cloud_are_reported_and_the_rest_can_be_destroyed(
    stacks: PulumiStacks, image: str, cloud: CloudUnderTest, fault: dict[str, object], kind: type[HpcError]
) -> None:
    match = INSERTS if fault["kind"] == "http" else "b4-1$"
    cloud.arm(match=match, **fault)  # type: ignore[arg-type]
    failed: list[StackProgress] = []
    with pytest.raises(kind) as caught:
        stacks.up(spec("analysis", "b4", count=2), failed.append)
    assert isinstance(caught.value.__cause__, StackError)
    assert [step.message for step in failed if step.state == "failed" and step.type.endswith(":Instance")] != [""]
    assert len(cloud.names("instances")) == 1
    stacks.destroy("analysis", "b4", ignore)
    stacks.remove("analysis", "b4")
    assert cloud.names("instances", "disks") == set()


def test_one_vm_that_is_refused_at_once_keeps_no_other_from_being_created_or_deleted(
    stacks: PulumiStacks, image: str, cloud: CloudUnderTest
) -> None:
    cloud.arm(match=INSERTS, **FORBIDDEN)
    with pytest.raises(PermissionDeniedError):
        stacks.up(spec("analysis", "b6", count=12), ignore)
    assert len(cloud.names("instances")) == 11
    cloud.arm(match=r"^DELETE .*/instances/", **FORBIDDEN)
    with pytest.raises(PermissionDeniedError):
        stacks.destroy("analysis", "b6", ignore)
    assert len(cloud.names("instances")) == 1
    stacks.destroy("analysis", "b6", ignore)
    stacks.remove("analysis", "b6")
    assert cloud.names("instances", "disks") == set()


def test_a_run_that_is_cancelled_leaves_what_can_be_destroyed_and_found(
    stacks: PulumiStacks, image: str, cloud: CloudUnderTest
) -> None:
    cloud.arm("slow_operation", match="insert .*/opensees-hpc-b5-1", delay_s=3.0)
    one_done, other_begun = threading.Event(), threading.Event()
    failures: list[HpcError] = []

    def watch(progress: StackProgress) -> None:
        if progress.type.endswith(":Instance"):
            if (progress.name, progress.state) == ("opensees-hpc-b5-0", "done"):
                one_done.set()
            if progress.name == "opensees-hpc-b5-1":
                other_begun.set()

    def up() -> None:
        try:
            stacks.up(spec("analysis", "b5", count=2), watch)
        except HpcError as error:
            failures.append(error)

    thread = threading.Thread(target=up)
    thread.start()
    assert one_done.wait(LIMIT_S) and other_begun.wait(LIMIT_S)
    stacks.interrupt()
    thread.join(LIMIT_S)
    assert not thread.is_alive() and len(failures) == 1
    stacks.destroy("analysis", "b5", ignore)
    stacks.remove("analysis", "b5")
    assert cloud.names("instances") <= {"opensees-hpc-b5-1"}
    for name in cloud.names_with_labels(names.labels_of_batch("b5")):
        cloud.delete_instance(name)
    assert cloud.names("instances", "disks") == set()


def test_an_engine_that_is_killed_leaves_what_can_be_destroyed_and_found(
    stacks: PulumiStacks, site: EngineSite, image: str, cloud: CloudUnderTest
) -> None:
    cloud.arm("slow_operation", match="insert .*/opensees-hpc-b8-0", delay_s=3.0)
    batch = spec("analysis", "b8")

    def kill_engine(progress: StackProgress) -> None:
        if progress.type.endswith(":Instance"):
            for child in psutil.Process().children():
                if child.name() == "pulumi":
                    child.kill()

    with pytest.raises(StackError):
        stacks.up(batch, kill_engine)
    assert list((site.work.parent / "state" / ".pulumi" / "locks").rglob("*.json"))
    stacks.destroy("analysis", "b8", ignore)
    stacks.remove("analysis", "b8")
    for name in cloud.names_with_labels(names.labels_of_batch("b8")):
        cloud.delete_instance(name)
    assert cloud.names("instances", "disks") == set()


def test_a_state_that_a_killed_engine_left_half_written_does_not_stop_a_destroy(
    stacks: PulumiStacks, site: EngineSite, image: str, cloud: CloudUnderTest
) -> None:
    stacks.up(spec("analysis", "b9"), ignore)
    (state,) = (site.work.parent / "state" / ".pulumi" / "stacks").rglob("b9.json")
    state.write_text("")
    stacks.destroy("analysis", "b9", ignore)
    stacks.remove("analysis", "b9")
    for name in cloud.names_with_labels(names.labels_of_batch("b9")):
        cloud.delete_instance(name)
    assert cloud.names("instances", "disks") == set()


@pytest.mark.parametrize("to_the_group", [True, False], ids=["by the terminal", "by kill"])
def test_ctrl_c_ends_the_engine_first(
    stacks: PulumiStacks, site: EngineSite, image: str, cloud: CloudUnderTest, to_the_group: bool
) -> None:
    cloud.arm("slow_operation", match="insert .*/opensees-hpc-b6-0", delay_s=3.0)
    arguments = json.dumps({"cli_bin": str(site.cli_bin), "infra": str(site.infra), "work": str(site.work)})
    with subprocess.Popen(
        [sys.executable, "-m", "tests.infra.interrupted", arguments, json.dumps(dict(spec("analysis", "b6").config))],
        cwd=ROOT,
        env=dict(site.env),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        (os.killpg if to_the_group else os.kill)(child.pid, signal.SIGINT)
        assert child.stdout.read() == "interrupted\n"
        assert child.wait(LIMIT_S) == 130
    assert cloud.names("instances") == {"opensees-hpc-b6-0"}
    assert not list((site.work.parent / "state" / ".pulumi" / "locks").rglob("*.json"))
    stacks.destroy("analysis", "b6", ignore)
    stacks.remove("analysis", "b6")
    assert cloud.names("instances", "disks") == set()


def test_a_stack_created_by_hand_is_taken_over(
    stacks: PulumiStacks, image: str, site: EngineSite, cloud: CloudUnderTest
) -> None:
    location = {"GOOGLE_PROJECT": "local-project", "GOOGLE_REGION": "europe-west4", "GOOGLE_ZONE": "europe-west4-a"}
    run_by_hand(site, "analysis", "stack", "init", "b7")
    for key, value in BATCH.items():
        run_by_hand(site, "analysis", "config", "set", key, value, "--stack", "b7")
    run_by_hand(site, "analysis", "up", "--yes", "--stack", "b7", **location)
    assert cloud.names("instances") == {"opensees-hpc-b7-0"}
    assert find_changes(stacks, spec("analysis", "b7")) == set()
    run_by_hand(site, "analysis", "destroy", "--yes", "--stack", "b7")
    stacks.remove("analysis", "b7")
    assert cloud.names("instances", "disks") == set()


def test_by_hand_a_wrong_setting_is_reported_without_a_traceback(site: EngineSite) -> None:
    run_by_hand(site, "base", "stack", "init", "mine")
    with pytest.raises(AssertionError) as caught:
        run_by_hand(site, "base", "preview", "--stack", "mine")
    assert "gcp:project: is not set; in Pulumi.mine.yaml" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    run_by_hand(site, "base", "stack", "rm", "--yes", "mine")


def test_at_the_end_nothing_is_left(stacks: PulumiStacks, base: StackSpec, cloud: CloudUnderTest) -> None:
    stacks.destroy("base", "base", ignore)
    stacks.remove("base", "base")
    assert names.NETWORK not in cloud.names("networks")
    assert [stacks.names(project) for project in ("base", "image", "analysis")] == [[], [], []]
