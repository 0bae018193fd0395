"""The errors that users see when the cloud rejects requests, and the state afterwards.

One run of one program gets all the errors; it continues after an error because of the engine's ``--continue-on-error``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pulumi_gcp as gcp
import pytest

from .engine import Engine, Resources, failure_of
from .recorder import Recorder, Request, verbs_of
from .small import IMAGE, REGION, ZONE, after, bucket, disk, machine, network

OTHER_ZONE = "europe-west1-c"
NAME_TAKEN = "The requested bucket name is not available."
DISKS = f"/compute/v1/projects/demo/zones/{ZONE}/disks"
QUOTA = "Quota 'PREEMPTIBLE_CPUS' exceeded.  Limit: 8.0 in region europe-west1"
STOCKOUT = (
    "Error waiting for instance to create: The zone 'projects/demo/zones/europe-west1-b'",
    "does not have enough resources available to fulfill the request",
)
REFUSALS = [
    (403, "forbidden", "Required 'compute.instances.create' permission for 'projects/demo/x'"),
    (401, "authError", "Request had invalid authentication credentials."),
    (403, "accessNotConfigured", "Compute Engine API has not been used in project 1 before or it is disabled."),
    (403, "rateLimitExceeded", "Rate Limit Exceeded"),
]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """``told``: the error texts by the resource's name; ``kept``: the state after the run; ``later``: after a run without faults."""

    told: dict[str, str]
    kept: Resources
    requests: Sequence[Request]
    later: Resources


def declare_first() -> None:
    """Declare resources that already exist when the other program runs."""
    network("taken")
    machine("taken-vm")
    gcp.serviceaccount.Account("taken-account", account_id="taken-account")
    gcp.projects.IAMCustomRole("taken-role", role_id="takenRole", title="t", permissions=["compute.instances.get"])
    gcp.compute.ProjectMetadataItem("taken-item", key="taken", value="x")


def declare_passing() -> None:
    """Declare resources that succeed in the end."""
    for name in ("stockout-plain", "stockout-details", "spared"):
        machine(name)
    rule: dict[str, Any] = {"allows": [{"protocol": "tcp"}], "source_ranges": ["198.51.100.0/24"]}
    gcp.compute.Firewall("later-503", name="later-503", network="default", **rule)
    gcp.compute.Router("later-429", name="later-429", network="default", region=REGION)
    network("unread")


def declare_refused() -> None:
    """Declare resources that never succeed."""
    for name in ("quota-operation", "quota-http", "left-vm"):
        machine(name)
    for _, reason, _ in REFUSALS:
        machine(f"refused-{reason}".lower(), zone=OTHER_ZONE)
    bucket("demo-taken")
    gcp.projects.IAMMember("policy", project="demo", role="roles/viewer", member="user:someone@example.com")
    source = disk("busy-disk", image=IMAGE)
    vm = machine("busy-vm", boot_disk={"auto_delete": False, "source": source.self_link})
    gcp.compute.Image("busy", name="busy-1", family="busy", source_disk=source.self_link, opts=after(vm))


def arm_faults(rest: httpx.Client) -> None:
    def arm(kind: str, match: str, **more: Any) -> None:
        rest.post("/_local/faults", json={"kind": kind, "match": match, **more}).raise_for_status()

    def refuse(request: str, status: int, reason: str, message: str, times: int = 1) -> None:
        arm("http", rf"^{request}(\?|$)", status=status, reason=reason, message=message, times=times)

    arm("quota", "quota-operation", form="operation")
    arm("quota", "quota-http", form="http")
    arm("stockout", "stockout-plain", details=False)
    arm("stockout", "stockout-details", details=True)
    for status, reason, message in REFUSALS:
        refuse(f"POST [^?]*{OTHER_ZONE}/instances", status, reason, message)
    refuse("POST [^?]*/firewalls", 503, "backendError", "Later.", times=2)
    refuse("POST [^?]*/routers", 429, "backendError", "Later.", times=2)
    refuse("POST [^?]*/storage/v1/b", 409, "conflict", NAME_TAKEN)
    refuse("POST [^?]*:setIamPolicy", 403, "forbidden", "Policy update access denied.")
    refuse("GET [^?]*/networks/unread", 403, "forbidden", "Not for you.")


def read_diagnostics(told: str) -> dict[str, str]:
    """Return the engine's error texts by the name of the resource."""
    found = re.findall(r"^  gcp:\S+ \(([^)]+)\):\n((?:    .*\n|\n)+)", told, flags=re.MULTILINE)
    return {name: re.sub(r"^    ", "", words, flags=re.MULTILINE) for name, words in found}


@pytest.fixture(scope="module")
def refused(engine: Engine, rest: httpx.Client, recorder: Recorder) -> Iterator[Refused]:
    """Yield the results of a run in which everything fails, and of a second one without faults."""

    def declare_all() -> None:
        declare_first()
        declare_passing()
        declare_refused()

    rest.post(DISKS, json={"name": "left-vm", "sizeGb": "20"}).raise_for_status()
    with engine.running(declare_first) as first, engine.running(declare_all) as stack:
        first.up()
        arm_faults(rest)
        recorder.take()
        told = read_diagnostics(failure_of(stack.up, go_on=True))
        requests, kept = recorder.take(), stack.resources()
        rest.delete("/_local/faults").raise_for_status()
        stack.program = declare_passing
        stack.up(refresh=True)
        yield Refused(told=told, kept=kept, requests=requests, later=stack.resources())
    rest.delete(f"{DISKS}/left-vm").raise_for_status()


TOLD = {
    "quota-operation": (QUOTA, "Error waiting for instance to create: Quota", "metric name = compute.googleapis.com/"),
    "quota-http": (QUOTA, "Error creating instance: googleapi: Error 403: Quota", "quotaExceeded"),
    "stockout-plain": STOCKOUT,
    "stockout-details": STOCKOUT,
    "taken": ("Error creating Network: googleapi: Error 409: The resource 'projects/demo/global/networks/taken' ",),
    "taken-vm": ("instances/taken-vm' already exists, alreadyExists",),
    "taken-account": (
        "Error creating service account: googleapi: Error 409: Service account taken-account already exists",
    ),
    "taken-role": ("Custom project role projects/demo/roles/takenRole already exists and must be imported",),
    "taken-item": ('key "taken" already present in metadata for project "demo"',),
    "left-vm": ("disks/left-vm' already exists, alreadyExists",),
    "demo-taken": (f"googleapi: Error 409: {NAME_TAKEN}, conflict",),
    "policy": ("googleapi: Error 403: Policy update access denied., forbidden",),
    "busy": (
        "Error creating Image: googleapi: Error 400: The disk resource",
        "is already being used by",
        "resourceInUseByAnotherResource",
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_error_texts(refused: Refused, name: str) -> None:
    for words in TOLD[name]:
        assert words in refused.told[name]


def test_rejected_requests_are_not_retried(refused: Refused) -> None:
    """Each VM gets one of the errors; which one is a matter of chance."""
    asked = [
        request["status"]
        for request in refused.requests
        if request["method"] == "POST" and request["path"].endswith(f"{OTHER_ZONE}/instances")
    ]
    assert sorted(asked) == sorted(status for status, _, _ in REFUSALS)
    told = " ".join(words for name, words in refused.told.items() if name.startswith("refused-"))
    for status, reason, message in REFUSALS:
        assert f"Error creating instance: googleapi: Error {status}: {message}" in told
        assert reason in told


@pytest.mark.parametrize("status", [503, 429])
def test_temporary_faults_are_not_seen(refused: Refused, status: int) -> None:
    name = f"later-{status}"
    asked = [request["status"] for request in refused.requests if verbs_of([request], name)]
    assert asked == [status, status, 200]
    assert name not in refused.told


def test_the_state_has_every_created_resource(refused: Refused) -> None:
    assert set(refused.kept) == {
        ("Disk", "busy-disk"),
        ("Firewall", "later-503"),
        ("Instance", "busy-vm"),
        ("Instance", "spared"),
        ("Network", "unread"),
        ("Router", "later-429"),
    }


def test_a_created_resource_that_cannot_be_read_is_recorded(refused: Refused) -> None:
    assert "Not for you." in refused.told["unread"]
    assert "selfLink" not in refused.kept[("Network", "unread")]["outputs"]
    assert refused.later[("Network", "unread")]["outputs"]["selfLink"]


def test_after_a_stockout_the_next_run_creates_the_rest(refused: Refused) -> None:
    made = {name for kind, name in refused.later if kind == "Instance"}
    assert made == {"stockout-plain", "stockout-details", "spared"}
