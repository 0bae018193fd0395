"""A resource's life through the real engine: names, replacements, updates, imports, secrets, settings, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pulumi
import pulumi_gcp as gcp
import pytest

from runner.emulator.provider.values import SIGNATURE_KEY
from runner.stacks.program import Program

from .engine import Engine, Stack, failure_of
from .recorder import Recorder, verbs_of
from .small import IMAGE, ZONE, after, disk, machine, network

SECRET = "1b47061264138c4ac30d75fd1eb44270"  # how the engine marks one in its state
INSTANCES = f"/compute/v1/projects/demo/zones/{ZONE}/instances"
MEMBER = "user:someone@example.com"


def test_replacements(engine: Engine, recorder: Recorder) -> None:
    """With a generated name the new one is created first, with a fixed name the old one is deleted first."""
    settings: dict[str, Any] = {"description": "one"}

    def program() -> None:
        gcp.compute.Network("auto", auto_create_subnetworks=False, **settings)
        network("fixed", **settings)

    with engine.running(program) as stack:
        stack.up()
        name = stack.resources()[("Network", "auto")]["outputs"]["name"]
        assert name.startswith("auto-")
        assert stack.preview() == {}
        settings["description"] = "two"
        assert stack.preview() == {"replace": 2}
        recorder.take()
        stack.up()
        asked = recorder.take()
        other = stack.resources()[("Network", "auto")]["outputs"]["name"]
        assert other != name
        posted, deleted = verbs_of(asked, other), verbs_of(asked, name)
        assert (posted, deleted) == ([("POST", "networks")], [("DELETE", name)])
        assert asked.index(_first(asked, "POST", other)) < asked.index(_first(asked, "DELETE", name))
        assert verbs_of(asked, "fixed") == [("DELETE", "fixed"), ("POST", "networks")]


def _first(asked: list[dict[str, Any]], method: str, name: str) -> dict[str, Any]:
    return next(request for request in asked if request["method"] == method and verbs_of([request], name))


def test_updates_that_stop_and_start(engine: Engine, recorder: Recorder) -> None:
    """A running VM is stopped for an update only if that is allowed; ``desired_status`` stops and starts."""
    resized: dict[str, Any] = {"machine_type": "c2-standard-4"}
    switched: dict[str, Any] = {"desired_status": "RUNNING"}

    def program() -> None:
        machine("resized", **resized)
        machine("switched", **switched)

    with engine.running(program) as stack:
        stack.up()
        resized["machine_type"], switched["desired_status"] = "c2-standard-8", "TERMINATED"
        assert stack.preview() == {"update": 2}
        recorder.take()
        told = failure_of(stack.up, go_on=True)
        assert "please set allow_stopping_for_update = true" in " ".join(told.split())
        asked = recorder.take()
        assert (verbs_of(asked, "resized"), verbs_of(asked, "switched")) == ([], [("POST", "stop")])
        assert status_of(stack, "switched") == "TERMINATED"
        resized["allow_stopping_for_update"], switched["desired_status"] = True, "RUNNING"
        stack.up()
        asked = recorder.take()
        assert verbs_of(asked, "resized") == [("POST", "stop"), ("POST", "setMachineType"), ("POST", "start")]
        assert verbs_of(asked, "switched") == [("POST", "start")]
        assert (status_of(stack, "resized"), status_of(stack, "switched")) == ("RUNNING", "RUNNING")
        assert stack.resources()[("Instance", "resized")]["outputs"]["machineType"] == "c2-standard-8"


def status_of(stack: Stack, name: str) -> str:
    return str(stack.resources()[("Instance", name)]["outputs"]["currentStatus"])


def declare_secret() -> None:
    vm = machine("secretive", metadata={"token": pulumi.Output.secret("hush-hush"), "plain": "seen"})
    pulumi.export("token", vm.metadata.apply(lambda metadata: (metadata or {})["token"]))


def declare_right() -> None:
    vm = machine("righted")
    opts = pulumi.ResourceOptions(deleted_with=vm)
    role = "roles/compute.viewer"
    gcp.compute.InstanceIAMMember("right", instance_name=vm.name, zone=ZONE, role=role, member=MEMBER, opts=opts)
    found = gcp.compute.get_instance_output(name=vm.name, zone=ZONE)
    pulumi.export("status", found.current_status)
    named = gcp.compute.get_image(name="hpc-rocky-linux-8-v20260801", project="cloud-hpc-image-public")
    pulumi.export("family", named.family)


def declare_import() -> None:
    id = "projects/demo/global/networks/imported"
    taken = network("imported", description="made by hand", opts=pulumi.ResourceOptions(import_=id))
    pulumi.export("selfLink", gcp.compute.Network.get("seen", "imported").self_link)
    pulumi.export("name", taken.name)


def declare_odd_family() -> None:
    source = disk("odd", image=IMAGE)
    image = gcp.compute.Image("odd", name="version-1", family="strange", source_disk=source.self_link)
    machine("odd-vm", image="projects/demo/global/images/family/strange", opts=after(image))


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A stack after its first ``up``, and the plans of a preview, with a refresh and without."""

    stack: Stack
    plans: list[dict[str, int]]


@pytest.fixture(scope="module")
def settled(engine: Engine, rest: httpx.Client, recorder: Recorder) -> Iterator[Settled]:
    """Yield the programs above in one stack."""
    body = {"name": "imported", "autoCreateSubnetworks": False, "description": "made by hand"}
    rest.post("/compute/v1/projects/demo/global/networks", json=body).raise_for_status()

    def program() -> None:
        for declare in (declare_secret, declare_right, declare_import, declare_odd_family):
            declare()

    with engine.running(program) as stack:
        stack.up()
        yield Settled(stack=stack, plans=[stack.preview(), stack.preview(refresh=True)])
        recorder.take()
        stack.destroy()
        # The grant on the VM was deleted with it.
        assert verbs_of(recorder.take(), "righted") == [("DELETE", "righted")]


def test_only_a_family_that_is_not_in_the_images_name_is_replaced_again_and_again(settled: Settled) -> None:
    assert settled.plans == [{"replace": 1}, {"replace": 1}]


def test_import_and_get(settled: Settled) -> None:
    outputs = settled.stack.outputs()
    assert outputs["selfLink"].endswith("projects/demo/global/networks/imported")
    assert outputs["name"] == "imported"


def test_secrets_stay_secret(settled: Settled, rest: httpx.Client) -> None:
    assert settled.stack.outputs()["token"][SIGNATURE_KEY] == SECRET
    assert settled.stack.revealed_outputs()["token"] == "hush-hush"
    found = settled.stack.resources()[("Instance", "secretive")]
    for side in ("inputs", "outputs"):
        assert found[side]["metadata"]["token"][SIGNATURE_KEY] == SECRET
        assert found[side]["metadata"]["plain"] == "seen"
    items = rest.get(f"{INSTANCES}/secretive").json()["metadata"]["items"]
    assert {"key": "token", "value": "hush-hush"} in items


def test_a_right_on_a_vm(settled: Settled, rest: httpx.Client) -> None:
    bindings = rest.get(f"{INSTANCES}/righted/getIamPolicy").json()["bindings"]
    assert bindings == [{"role": "roles/compute.viewer", "members": [MEMBER]}]


def test_functions(settled: Settled) -> None:
    outputs = settled.stack.outputs()
    assert (outputs["status"], outputs["family"]) == ("RUNNING", "hpc-rocky-linux-8")


def test_settings_of_the_stack_and_of_a_provider_of_its_own(engine: Engine) -> None:
    def program() -> None:
        plain = gcp.compute.Disk("plain", name="plain", size=10)
        other = gcp.Provider("other", zone="europe-west1-c", default_labels={"from": "provider"})
        placed = gcp.compute.Disk("placed", name="placed", size=10, opts=pulumi.ResourceOptions(provider=other))
        pulumi.export("zones", [plain.zone, placed.zone])
        pulumi.export("labels", placed.effective_labels)

    with engine.running(program, {"gcp:zone": "europe-west1-d"}) as stack:
        stack.up()
        outputs = stack.outputs()
        assert outputs["zones"] == ["europe-west1-d", "europe-west1-c"]
        assert stack.revealed_outputs()["labels"] == {"from": "provider", "goog-pulumi-provisioned": "true"}
        assert stack.preview() == {}


def test_settings_that_do_not_exist(engine: Engine) -> None:
    def program() -> None:
        network("unset")

    with engine.running(program, {"gcp:zoone": "x"}) as stack:
        assert "Did you mean 'gcp:zone'?" in failure_of(stack.preview)


def declare_bad_name() -> None:
    gcp.compute.Network("bad", name="Bad_Name")


def declare_stopped() -> None:
    machine("never", desired_status="TERMINATED")


def declare_unknown_type() -> None:
    gcp.sql.DatabaseInstance("db", database_version="POSTGRES_16")


def declare_unknown_function() -> None:
    gcp.compute.get_regions()


def declare_absent() -> None:
    network("absent", opts=pulumi.ResourceOptions(import_="absent"))


BAD_NAME = "gcp:compute/network:Network resource 'bad' has a problem: (\"Bad_Name\") doesn't match regexp"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (declare_bad_name, BAD_NAME),
        (declare_stopped, "desired_status can only accept RUNNING value"),
        (declare_unknown_type, "The embedded cloud has no resource type 'gcp:sql/databaseInstance:DatabaseInstance'"),
        (declare_unknown_function, "The embedded cloud has no function 'gcp:compute/getRegions:getRegions'"),
    ],
)
def test_errors_before_any_request(engine: Engine, recorder: Recorder, program: Program, expected: str) -> None:
    with engine.running(program) as stack:
        recorder.take()
        assert expected in failure_of(stack.preview)
        assert recorder.take() == []


def test_importing_a_missing_resource(engine: Engine) -> None:
    with engine.running(declare_absent) as stack:
        assert "resource 'absent' does not exist" in failure_of(stack.up)
