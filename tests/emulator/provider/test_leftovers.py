"""Resources that were changed or deleted without the engine, and resources that a destroy leaves, and why."""

from __future__ import annotations

import httpx

from .engine import Engine, failure_of
from .recorder import Recorder, verbs_of
from .small import ZONE, bucket, machine, network

NETWORKS = "/compute/v1/projects/demo/global/networks"
FIREWALLS = "/compute/v1/projects/demo/global/firewalls"
INSTANCES = f"/compute/v1/projects/demo/zones/{ZONE}/instances"


def test_resources_that_are_gone(engine: Engine, rest: httpx.Client, recorder: Recorder) -> None:
    label = {"rev": "a"}

    def program() -> None:
        machine("gone")
        machine("gone-labelled", labels=label)
        network("gone-net")

    with engine.running(program) as stack:
        stack.up()
        for path in (f"{INSTANCES}/gone", f"{INSTANCES}/gone-labelled", f"{NETWORKS}/gone-net"):
            rest.delete(path).raise_for_status()
        recorder.take()
        assert stack.preview() == {}
        assert recorder.take() == []
        assert stack.preview(refresh=True) == {"create": 3}
        label["rev"] = "b"
        assert "did not exist while updating" in failure_of(stack.up)
        assert ("Instance", "gone-labelled") in stack.resources()
        told = failure_of(stack.destroy, go_on=True)
        where = "projects/demo/zones/europe-west1-b/instances/gone"
        assert f"Error deleting instance: googleapi: Error 404: The resource '{where}' was not found, notFound" in told
        # Deleting a network that is gone is no error.
        assert set(stack.resources()) == {("Instance", "gone"), ("Instance", "gone-labelled")}
        stack.destroy(refresh=True)
        assert stack.resources() == {}


def test_what_a_destroy_leaves(engine: Engine, rest: httpx.Client, recorder: Recorder) -> None:
    force, policy = {"force": False}, {"deletion_policy": "PREVENT"}
    rule = {
        "name": "used-rule",
        "network": "projects/demo/global/networks/used-net",
        "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
        "sourceRanges": ["198.51.100.0/24"],
    }

    def program() -> None:
        network("used-net")
        network("kept", **policy)
        bucket("demo-full", **force)

    with engine.running(program) as stack:
        stack.up()
        everything = set(stack.resources())
        rest.post(FIREWALLS, json=rule).raise_for_status()
        rest.post("/upload/storage/v1/b/demo-full/o?uploadType=media&name=a%2Fb", content=b"content").raise_for_status()
        recorder.take()
        told = failure_of(stack.destroy, go_on=True)
        assert "Error deleting Network: googleapi: Error 400: The network resource" in told
        assert "deletionPolicy is PREVENT" in told
        assert "Error trying to delete bucket demo-full without `force_destroy` set to true" in told
        assert verbs_of(recorder.take(), "demo-full") == []
        assert set(stack.resources()) == everything
        rest.delete(f"{FIREWALLS}/used-rule").raise_for_status()
        force["force"], policy["deletion_policy"] = True, "ABANDON"
        stack.up()
        recorder.take()
        stack.destroy()
        asked = recorder.take()
        deleted = [request["path"] for request in asked if request["method"] == "DELETE"]
        assert [path for path in deleted if "/b/" in path] == [
            "/storage/v1/b/demo-full/o/a%2Fb",
            "/storage/v1/b/demo-full",
        ]
        assert verbs_of(asked, "kept") == []
        assert stack.resources() == {}
    assert rest.delete(f"{NETWORKS}/kept").status_code == httpx.codes.OK


def test_drift_is_found_and_corrected(engine: Engine, rest: httpx.Client) -> None:
    def program() -> None:
        machine("drifted", metadata={"mine": "1"}, labels={"a": "b"})
        machine("stopped")

    with engine.running(program) as stack:
        stack.up()
        stop_machine(rest)
        drift_machine(rest)
        assert stack.preview() == {}
        # A plan does not start a VM that was stopped.
        assert stack.preview(refresh=True) == {"update": 1}
        stack.up(refresh=True)
        assert stack.resources()[("Instance", "stopped")]["outputs"]["currentStatus"] == "TERMINATED"
        found = rest.get(f"{INSTANCES}/drifted").json()
        assert found["metadata"]["items"] == [{"key": "mine", "value": "1"}]
        assert found["labels"] == {"a": "b", "theirs": "x", "goog-pulumi-provisioned": "true"}


def stop_machine(rest: httpx.Client) -> None:
    operation = rest.post(f"{INSTANCES}/stopped/stop").raise_for_status().json()
    rest.post(f"/compute/v1/projects/demo/zones/{ZONE}/operations/{operation['name']}/wait").raise_for_status()


def drift_machine(rest: httpx.Client) -> None:
    """Someone changes a value of ours and adds a label of theirs."""
    found = rest.get(f"{INSTANCES}/drifted").json()
    metadata = {"fingerprint": found["metadata"]["fingerprint"], "items": [{"key": "mine", "value": "2"}]}
    rest.post(f"{INSTANCES}/drifted/setMetadata", json=metadata).raise_for_status()
    labels = {"labelFingerprint": found["labelFingerprint"], "labels": found["labels"] | {"theirs": "x"}}
    rest.post(f"{INSTANCES}/drifted/setLabels", json=labels).raise_for_status()
