"""A resource's life through the real engine: names, replacements, updates, imports, secrets, settings, what is refused."""

import pulumi
import pulumi_gcp as gcp
import pytest

from runner.emulator.provider.values import SIGNATURE_KEY

from .engine import failure_of, planned, resources_of
from .small import IMAGE, ZONE, after, machine, network

SECRET = "1b47061264138c4ac30d75fd1eb44270"  # how the engine marks one in its state
INSTANCES = f"/compute/v1/projects/demo/zones/{ZONE}/instances"


def verbs(requests):
    """What was written: method and the last part of the path."""
    return [
        (request["method"], request["path"].rsplit("/", 1)[-1])
        for request in requests
        if request["method"] != "GET" and not request["path"].endswith("/wait")
    ]


def test_made_up_names_last_and_the_new_one_comes_first(engine, recorder):
    settings = {"description": "one"}
    with engine.running(lambda: gcp.compute.Network("auto", auto_create_subnetworks=False, **settings)) as stack:
        stack.up()
        name = resources_of(stack)[("Network", "auto")]["outputs"]["name"]
        assert name.startswith("auto-")
        assert planned(stack.preview()) == {}
        recorder.take()
        settings["description"] = "two"
        assert planned(stack.preview()) == {"replace": 1}
        stack.up()
        assert [method for method, _ in verbs(recorder.take())] == ["POST", "DELETE"]
        assert resources_of(stack)[("Network", "auto")]["outputs"]["name"] != name


def test_with_a_fixed_name_the_old_one_goes_first(engine, recorder):
    settings = {"description": "one"}
    with engine.running(lambda: network("fixed", **settings)) as stack:
        stack.up()
        recorder.take()
        settings["description"] = "two"
        stack.up()
        assert verbs(recorder.take()) == [("DELETE", "fixed"), ("POST", "networks")]


def test_a_running_vm_is_stopped_only_if_that_is_allowed(engine, recorder):
    settings = {"machine_type": "c2-standard-4"}
    with engine.running(lambda: machine("resized", **settings)) as stack:
        stack.up()
        settings["machine_type"] = "c2-standard-8"
        assert planned(stack.preview()) == {"update": 1}
        told = failure_of(stack.up)
        assert "please set allow_stopping_for_update = true" in " ".join(told.split())
        settings["allow_stopping_for_update"] = True
        recorder.take()
        stack.up()
        assert verbs(recorder.take()) == [("POST", "stop"), ("POST", "setMachineType"), ("POST", "start")]
        outputs = resources_of(stack)[("Instance", "resized")]["outputs"]
        assert (outputs["machineType"], outputs["currentStatus"]) == ("c2-standard-8", "RUNNING")


def test_desired_status_stops_and_starts(engine, recorder):
    settings = {"desired_status": "TERMINATED"}
    with engine.running(lambda: machine("switched", **settings)) as stack:
        assert "desired_status can only accept RUNNING value" in failure_of(stack.preview)
        settings["desired_status"] = "RUNNING"
        stack.up()
        for wanted, verb in (("TERMINATED", "stop"), ("RUNNING", "start")):
            settings["desired_status"] = wanted
            recorder.take()
            stack.up()
            assert verbs(recorder.take()) == [("POST", verb)]
            assert resources_of(stack)[("Instance", "switched")]["outputs"]["currentStatus"] == wanted


def test_a_family_that_is_not_in_the_images_name_is_replaced_again_and_again(engine):
    def bake():
        disk = gcp.compute.Disk("odd", name="odd", zone=ZONE, image=IMAGE, size=20)
        return gcp.compute.Image("odd", name="version-1", family="strange", source_disk=disk.self_link)

    def program():
        image = bake()
        family = "projects/demo/global/images/family/strange"
        machine("odd-vm", image=family, opts=after(image))

    with engine.running(program) as stack:
        stack.up()
        assert planned(stack.preview()) == {"replace": 1}


def test_drift_is_found_and_put_right(engine, rest):
    with engine.running(lambda: machine("drifted", metadata={"mine": "1"}, labels={"a": "b"})) as stack:
        stack.up()
        found = rest.get(f"{INSTANCES}/drifted").json()
        metadata = {"fingerprint": found["metadata"]["fingerprint"], "items": [{"key": "mine", "value": "2"}]}
        rest.post(f"{INSTANCES}/drifted/setMetadata", json=metadata).raise_for_status()
        labels = {"labelFingerprint": found["labelFingerprint"], "labels": found["labels"] | {"theirs": "x"}}
        rest.post(f"{INSTANCES}/drifted/setLabels", json=labels).raise_for_status()
        assert planned(stack.preview()) == {}
        assert planned(stack.preview(refresh=True)) == {"update": 1}
        stack.up(refresh=True)
        found = rest.get(f"{INSTANCES}/drifted").json()
        assert found["metadata"]["items"] == [{"key": "mine", "value": "1"}]
        assert found["labels"] == {"a": "b", "theirs": "x", "goog-pulumi-provisioned": "true"}


def test_import_and_get(engine, rest):
    body = {"name": "imported", "autoCreateSubnetworks": False, "description": "made by hand"}
    rest.post("/compute/v1/projects/demo/global/networks", json=body).raise_for_status()
    id = "projects/demo/global/networks/imported"

    def program():
        taken = network("imported", description="made by hand", opts=pulumi.ResourceOptions(import_=id))
        pulumi.export("selfLink", gcp.compute.Network.get("seen", "imported").self_link)
        pulumi.export("name", taken.name)

    with engine.running(program) as stack:
        result = stack.up()
        assert str(result.outputs["selfLink"].value).endswith(id)
        assert planned(stack.preview()) == {}


def test_importing_what_is_not_there(engine):
    program = lambda: network("absent", opts=pulumi.ResourceOptions(import_="absent"))  # noqa: E731
    with engine.running(program) as stack:
        assert "absent" in failure_of(stack.up)


def test_secrets_stay_secret(engine, rest):
    def program():
        vm = machine("secretive", metadata={"token": pulumi.Output.secret("hush-hush"), "plain": "seen"})
        pulumi.export("token", vm.metadata.apply(lambda metadata: metadata["token"]))

    with engine.running(program) as stack:
        result = stack.up()
        assert result.outputs["token"].secret
        assert result.outputs["token"].value == "hush-hush"
        found = resources_of(stack)[("Instance", "secretive")]
        for side in ("inputs", "outputs"):
            assert found[side]["metadata"]["token"][SIGNATURE_KEY] == SECRET
            assert found[side]["metadata"]["plain"] == "seen"
        items = rest.get(f"{INSTANCES}/secretive").json()["metadata"]["items"]
        assert {"key": "token", "value": "hush-hush"} in items
        assert planned(stack.preview(refresh=True)) == {}


def test_a_right_on_a_vm_goes_with_it(engine, rest, recorder):
    member = "user:someone@example.com"

    def program():
        vm = machine("righted")
        gcp.compute.InstanceIAMMember(
            "right",
            instance_name=vm.name,
            zone=ZONE,
            role="roles/compute.viewer",
            member=member,
            opts=pulumi.ResourceOptions(deleted_with=vm),
        )

    with engine.running(program) as stack:
        stack.up()
        bindings = rest.get(f"{INSTANCES}/righted/getIamPolicy").json()["bindings"]
        assert bindings == [{"role": "roles/compute.viewer", "members": [member]}]
        assert planned(stack.preview(refresh=True)) == {}
        recorder.take()
        stack.destroy()
        assert verbs(recorder.take()) == [("DELETE", "righted")]


def test_settings_of_the_stack_and_of_a_provider_of_its_own(engine):
    def program():
        plain = gcp.compute.Disk("plain", name="plain", size=10)
        other = gcp.Provider("other", zone="europe-west1-c", default_labels={"from": "provider"})
        placed = gcp.compute.Disk("placed", name="placed", size=10, opts=pulumi.ResourceOptions(provider=other))
        pulumi.export("zones", [plain.zone, placed.zone])
        pulumi.export("labels", placed.effective_labels)

    with engine.running(program) as stack:
        stack.set_config("gcp:zone", pulumi.automation.ConfigValue("europe-west1-d"))
        outputs = stack.up().outputs
        assert outputs["zones"].value == ["europe-west1-d", "europe-west1-c"]
        assert outputs["labels"].value == {"from": "provider", "goog-pulumi-provisioned": "true"}
        assert planned(stack.preview()) == {}


def test_settings_that_do_not_exist(engine):
    with engine.running(lambda: network("unset")) as stack:
        stack.set_config("gcp:zoone", pulumi.automation.ConfigValue("x"))
        assert "Did you mean 'gcp:zone'?" in failure_of(stack.preview)


def test_bad_inputs_are_told_before_anything_is_asked(engine, recorder):
    def program():
        gcp.compute.Network("bad", name="Bad_Name")

    with engine.running(program) as stack:
        recorder.take()
        told = failure_of(stack.up)
        assert "gcp:compute/network:Network resource 'bad' has a problem: (\"Bad_Name\") doesn't match regexp" in told
        assert recorder.take() == []


def test_deletion_policies(engine, recorder):
    settings = {"deletion_policy": "PREVENT"}
    with engine.running(lambda: network("kept", **settings)) as stack:
        stack.up()
        assert "deletionPolicy is PREVENT" in failure_of(stack.destroy)
        settings["deletion_policy"] = "ABANDON"
        stack.up()
        recorder.take()
        stack.destroy()
        assert verbs(recorder.take()) == []
    path = "/compute/v1/projects/demo/global/networks/kept"
    assert recorder.forward("DELETE", path, {}, b"")[0] == 200


def unknown_type():
    gcp.sql.DatabaseInstance("db", database_version="POSTGRES_16")


def unknown_function():
    gcp.compute.get_regions()


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (unknown_type, "The embedded cloud has no resource type 'gcp:sql/databaseInstance:DatabaseInstance'"),
        (unknown_function, "The embedded cloud has no function 'gcp:compute/getRegions:getRegions'"),
    ],
)
def test_what_the_embedded_cloud_does_not_have(engine, program, expected):
    with engine.running(program) as stack:
        assert expected in failure_of(stack.preview)


def test_functions(engine):
    def program():
        made = machine("looked-up")
        found = gcp.compute.get_instance_output(name=made.name, zone=ZONE)
        pulumi.export("status", found.current_status)
        named = gcp.compute.get_image(name="hpc-rocky-linux-8-v20260801", project="cloud-hpc-image-public")
        pulumi.export("family", named.family)

    with engine.running(program) as stack:
        outputs = stack.up().outputs
        assert outputs["status"].value == "RUNNING"
        assert outputs["family"].value == "hpc-rocky-linux-8"
