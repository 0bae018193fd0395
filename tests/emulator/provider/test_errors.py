"""What users see when the cloud refuses, and what is then left in the state (the table in the issue's sources)."""

import pulumi_gcp as gcp
import pytest

from .engine import failure_of, planned, resources_of
from .small import ZONE, after, bucket, machine, network

INSTANCES = f"/compute/v1/projects/demo/zones/{ZONE}/instances"


def refuse(fault, method, path, status, reason, message, times=1):
    fault("http", rf"^{method} [^?]*{path}(\?|$)", status=status, reason=reason, message=message, times=times)


@pytest.mark.parametrize("form", ["operation", "http"])
def test_quota(engine, fault, form):
    fault("quota", "quota-vm", form=form)
    with engine.running(lambda: machine("quota-vm")) as stack:
        told = failure_of(stack.up)
        assert "Quota 'PREEMPTIBLE_CPUS' exceeded.  Limit: 8.0 in region europe-west1" in told
        if form == "operation":
            assert "Error waiting for instance to create: Quota" in told
            assert "metric name = compute.googleapis.com/" in told
        else:
            assert "Error creating instance: googleapi: Error 403: Quota" in told
            assert "quotaExceeded" in told
        assert resources_of(stack) == {}


@pytest.mark.parametrize("details", [False, True])
def test_stockout_leaves_the_others(engine, fault, details):
    fault("stockout", "stockout-a", details=details)
    with engine.running(lambda: [machine("stockout-a"), machine("stockout-b")]) as stack:
        told = failure_of(stack.up)
        assert "Error waiting for instance to create: The zone 'projects/demo/zones/europe-west1-b'" in told
        assert "does not have enough resources available to fulfill the request" in told
        assert ("Instance", "stockout-a") not in resources_of(stack)
        stack.refresh()
        stack.up()
        assert set(resources_of(stack)) >= {("Instance", "stockout-a"), ("Instance", "stockout-b")}


REFUSALS = [
    (403, "forbidden", "Required 'compute.instances.create' permission for 'projects/demo/x'"),
    (401, "authError", "Request had invalid authentication credentials."),
    (403, "accessNotConfigured", "Compute Engine API has not been used in project 1 before or it is disabled."),
    (403, "rateLimitExceeded", "Rate Limit Exceeded"),
]


@pytest.mark.parametrize(("status", "reason", "message"), REFUSALS, ids=[case[1] for case in REFUSALS])
def test_refused_requests_are_not_tried_again(engine, fault, recorder, status, reason, message):
    refuse(fault, "POST", "/instances", status, reason, message)
    with engine.running(lambda: machine("refused")) as stack:
        recorder.take()
        told = failure_of(stack.up)
        assert f"Error creating instance: googleapi: Error {status}: {message}" in told
        assert reason in told
        assert [request["status"] for request in recorder.take() if request["method"] == "POST"] == [status]
        assert resources_of(stack) == {}


@pytest.mark.parametrize("status", [503, 429])
def test_passing_faults_are_not_seen(engine, fault, recorder, status):
    refuse(fault, "POST", "/networks", status, "backendError", "Later.", times=2)
    with engine.running(lambda: network("later")) as stack:
        recorder.take()
        stack.up()
        inserts = [request["status"] for request in recorder.take() if request["path"].endswith("/networks")]
        assert inserts == [status, status, 200]


def test_what_exists_already(engine, rest):
    metadata = {"key": "taken", "value": "x"}

    def first():
        network("taken")
        machine("taken-vm", boot_disk={"auto_delete": False, **BOOT})
        gcp.serviceaccount.Account("taken", account_id="taken-account")
        gcp.projects.IAMCustomRole("taken", role_id="takenRole", title="t", permissions=["compute.instances.get"])
        gcp.compute.ProjectMetadataItem("taken", **metadata)

    with engine.running(first) as stack, engine.running(first) as other:
        stack.up()
        told = failure_of(other.up)
        assert (
            "Error creating Network: googleapi: Error 409: The resource 'projects/demo/global/networks/taken' " in told
        )
        assert "instances/taken-vm' already exists, alreadyExists" in told
        assert (
            "Error creating service account: googleapi: Error 409: Service account taken-account already exists" in told
        )
        assert "Custom project role projects/demo/roles/takenRole already exists and must be imported" in told
        assert 'key "taken" already present in metadata for project "demo"' in told
        assert resources_of(other) == {}
    left = failure_of_boot_disk(engine)
    assert "disks/taken-vm' already exists, alreadyExists" in left
    rest.delete(f"/compute/v1/projects/demo/zones/{ZONE}/disks/taken-vm").raise_for_status()


BOOT = {
    "initialize_params": {
        "image": "projects/cloud-hpc-image-public/global/images/family/hpc-rocky-linux-8",
        "size": 20,
    }
}


def failure_of_boot_disk(engine):
    with engine.running(lambda: machine("taken-vm")) as stack:
        return failure_of(stack.up)


def test_a_vm_that_is_gone(engine, rest, recorder):
    with engine.running(lambda: machine("gone")) as stack:
        stack.up()
        rest.delete(f"{INSTANCES}/gone").raise_for_status()
        recorder.take()
        assert planned(stack.preview()) == {}
        assert recorder.take() == []
        assert planned(stack.preview(refresh=True)) == {"create": 1}
        told = failure_of(stack.destroy)
        where = "projects/demo/zones/europe-west1-b/instances/gone"
        assert f"Error deleting instance: googleapi: Error 404: The resource '{where}' was not found, notFound" in told
        assert ("Instance", "gone") in resources_of(stack)
        stack.destroy(refresh=True)
        assert resources_of(stack) == {}


def test_a_vm_that_is_gone_cannot_be_updated(engine, rest):
    label = {"rev": "a"}
    with engine.running(lambda: machine("gone-update", labels=label)) as stack:
        stack.up()
        rest.delete(f"{INSTANCES}/gone-update").raise_for_status()
        label["rev"] = "b"
        assert "did not exist while updating" in failure_of(stack.up)
        assert ("Instance", "gone-update") in resources_of(stack)


def test_a_network_that_is_gone_is_deleted_without_ado(engine, rest):
    with engine.running(lambda: network("gone-net")) as stack:
        stack.up()
        rest.delete("/compute/v1/projects/demo/global/networks/gone-net").raise_for_status()
        stack.destroy()
        assert resources_of(stack) == {}


def test_a_stopped_vm_plans_nothing(engine, rest):
    with engine.running(lambda: machine("stopped")) as stack:
        stack.up()
        operation = rest.post(f"{INSTANCES}/stopped/stop").raise_for_status().json()
        rest.post(f"/compute/v1/projects/demo/zones/{ZONE}/operations/{operation['name']}/wait").raise_for_status()
        assert planned(stack.preview(refresh=True)) == {}
        stack.refresh()
        assert resources_of(stack)[("Instance", "stopped")]["outputs"]["currentStatus"] == "TERMINATED"


def test_a_bucket_with_objects(engine, recorder):
    force = {"force": False}
    with engine.running(lambda: bucket("demo-full", **force)) as stack:
        stack.up()
        recorder.forward("POST", "/upload/storage/v1/b/demo-full/o?uploadType=media&name=a%2Fb", {}, b"content")
        recorder.take()
        told = failure_of(stack.destroy)
        assert "Error trying to delete bucket demo-full without `force_destroy` set to true" in told
        assert "DELETE" not in {request["method"] for request in recorder.take()}
        assert ("Bucket", "demo-full") in resources_of(stack)
        force["force"] = True
        stack.up()
        stack.destroy()
        deleted = [request["path"] for request in recorder.take() if request["method"] == "DELETE"]
        assert deleted == ["/storage/v1/b/demo-full/o/a%2Fb", "/storage/v1/b/demo-full"]


def test_a_bucket_name_that_is_taken(engine, fault):
    message = "The requested bucket name is not available."
    refuse(fault, "POST", "/storage/v1/b", 409, "conflict", message)
    with engine.running(lambda: bucket("demo-taken")) as stack:
        assert f"googleapi: Error 409: {message}, conflict" in failure_of(stack.up)


def test_an_image_from_the_disk_of_a_running_vm(engine):
    def program():
        disk = gcp.compute.Disk(
            "busy-disk", name="busy-disk", zone=ZONE, image=BOOT["initialize_params"]["image"], size=20
        )
        vm = machine("busy-vm", boot_disk={"auto_delete": False, "source": disk.self_link})
        gcp.compute.Image("busy", name="busy-1", family="busy", source_disk=disk.self_link, opts=after(vm))

    with engine.running(program) as stack:
        told = failure_of(stack.up)
        assert "Error creating Image: googleapi: Error 400: The disk resource" in told
        assert "is already being used by" in told
        assert "resourceInUseByAnotherResource" in told
        assert ("Image", "busy") not in resources_of(stack)


def test_a_network_in_use_stays(engine, rest):
    firewalls = "/compute/v1/projects/demo/global/firewalls"
    rule = {
        "name": "used-rule",
        "network": "projects/demo/global/networks/used-net",
        "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
        "sourceRanges": ["198.51.100.0/24"],
    }
    with engine.running(lambda: network("used-net")) as stack:
        stack.up()
        rest.post(firewalls, json=rule).raise_for_status()
        told = failure_of(stack.destroy)
        assert "Error deleting Network: googleapi: Error 400: The network resource" in told
        rest.delete(f"{firewalls}/used-rule").raise_for_status()


def test_a_policy_that_may_not_be_changed(engine, fault):
    def program():
        gcp.projects.IAMMember("m", project="demo", role="roles/viewer", member="user:someone@example.com")

    refuse(fault, "POST", ":setIamPolicy", 403, "forbidden", "Policy update access denied.")
    with engine.running(program) as stack:
        told = failure_of(stack.up)
        assert "googleapi: Error 403: Policy update access denied., forbidden" in told
        assert resources_of(stack) == {}


def test_something_created_that_cannot_be_read_is_remembered(engine, fault):
    refuse(fault, "GET", "/networks/unread", 403, "forbidden", "Not for you.")
    with engine.running(lambda: network("unread")) as stack:
        assert "Not for you." in failure_of(stack.up)
        assert ("Network", "unread") in resources_of(stack)
        stack.up(refresh=True)
        assert resources_of(stack)[("Network", "unread")]["outputs"]["selfLink"]
