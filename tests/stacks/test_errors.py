"""The engine's messages, as users see them, and our errors for them. The texts are recorded from the stock provider."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from runner.errors import (
    CloudError,
    ConflictError,
    HpcError,
    PermissionDeniedError,
    QuotaError,
    StackError,
    StockoutError,
    UnreachableError,
)
from runner.model.stockout import Lost, Other, Stockout, classify, lost_vms
from runner.stacks.errors import Complaint, describe_failure

STOCKOUT = (
    "Error waiting for instance to create: The zone 'projects/p/zones/europe-west4-a' does not have enough resources "
    "available to fulfill the request.  Try a different zone, or try again later."
)
QUOTA = "Error waiting for instance to create: Quota 'PREEMPTIBLE_CPUS' exceeded.  Limit: 8.0 in region europe-west4."
QUOTA_HTTP = "Error creating instance: googleapi: Error 403: Quota 'CPUS' exceeded. Limit: 8.0, quotaExceeded"
RATE = "Error creating instance: googleapi: Error 403: Rate Limit Exceeded, rateLimitExceeded"
DENIED = "Error creating instance: googleapi: Error 403: Required 'compute.instances.create' permission, forbidden"
API_OFF = "googleapi: Error 403: Compute Engine API has not been used in project 1 before or it is disabled."
TOKEN = "Error creating instance: googleapi: Error 401: Invalid Credentials, authError"
EXISTS = "googleapi: Error 409: The resource 'projects/p/zones/z/instances/b1-0' already exists, alreadyExists"
PLUGIN_GONE = "error reading from server: EOF"
REFUSED = 'Post "http://127.0.0.1:1/compute/v1/": dial tcp 127.0.0.1:1: connect: connection refused'
ROLE_DELETED = (
    "Error creating the custom project role projects/p/roles/openseesHpcSelfDelete: googleapi: Error 400: You can't create a "
    "role_id (openseesHpcSelfDelete) which has been marked for deletion., failedPrecondition"
)
PLAIN = "Error trying to delete bucket b containing objects without force_destroy set to true"


LOST_BEFORE_RUNNING = "Error waiting for instance to reach desired status RUNNING: couldn't find resource (21 retries)"
LOST_BEFORE_IAM = (
    'Error retrieving IAM policy for compute instance "projects/p/zones/z/instances/b1-1": googleapi: Error 404: '
    "The resource 'projects/p/zones/z/instances/b1-1' was not found, notFound"
)


LOST_BEFORE_READ = (
    "expected non-empty ID for new state during Create of urn:pulumi:b1::analysis::opensees-hpc:infra:EphemeralInstance$"
    "gcp:compute/instance:Instance::b1-2"
)


def fail(what: str, texts: Sequence[str]) -> HpcError:
    return describe_failure(what, [Complaint(text=text) for text in texts])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (STOCKOUT, StockoutError),
        (QUOTA, QuotaError),
        (QUOTA_HTTP, QuotaError),
        (RATE, CloudError),
        (DENIED, PermissionDeniedError),
        (API_OFF, PermissionDeniedError),
        (TOKEN, PermissionDeniedError),
        (EXISTS, ConflictError),
        (REFUSED, UnreachableError),
        (PLUGIN_GONE, UnreachableError),
        (PLAIN, StackError),
    ],
)
def test_messages_become_errors(text: str, kind: type[HpcError]) -> None:
    failure = fail("up of analysis/b1", [f"1 error occurred:\n\t* {text}\n\n", "update failed"])
    assert type(failure) is kind
    assert str(failure) == f"up of analysis/b1 failed: {text}"


def test_a_role_that_was_deleted_weeks_ago_has_a_remedy() -> None:
    failure = fail("up of base/base", [ROLE_DELETED, "update failed"])
    assert "marked for deletion" in str(failure)
    assert "self_delete_role_id in the settings file" in failure.remedy
    assert "pulumi config set opensees-hpc:self_delete_role_id" in failure.remedy


def test_the_engines_own_message_is_the_cause() -> None:
    failure = fail("up of analysis/b1", [STOCKOUT, DENIED, STOCKOUT, "update failed"])
    assert isinstance(failure, StockoutError)
    assert isinstance(failure.__cause__, StackError)
    assert failure.__cause__.diagnostics == (STOCKOUT, DENIED)


def test_without_events_the_cli_is_quoted() -> None:
    failure = describe_failure(
        "up of base/base", [], "warning: old\n\x1b[31merror:\x1b[0m no Pulumi.yaml found\nin /x\n"
    )
    assert isinstance(failure, StackError)
    assert failure.diagnostics == ("no Pulumi.yaml found\nin /x",)


def test_vms_that_were_lost_during_creation_are_named() -> None:
    complaints = [
        Complaint(text=LOST_BEFORE_RUNNING, resource="b1-0"),
        Complaint(text=LOST_BEFORE_IAM, resource="b1-1-self-delete"),
        Complaint(text=LOST_BEFORE_READ, resource="b1-2"),
        Complaint(text="update failed", resource="b1-3"),
    ]
    failure = describe_failure("up of analysis/b1", complaints)
    assert isinstance(failure, StackError)
    assert failure.lost_vms == ("b1-0", "b1-1", "b1-2")
    assert classify(failure) == Lost(
        message=f"up of analysis/b1 failed: {LOST_BEFORE_RUNNING}", vms=("b1-0", "b1-1", "b1-2")
    )


def test_lost_vms_are_named_beside_something_worse() -> None:
    complaints = [Complaint(text=LOST_BEFORE_RUNNING, resource="b1-0"), Complaint(text=STOCKOUT, resource="b1-1")]
    failure = describe_failure("up of analysis/b1", complaints)
    assert isinstance(failure, StockoutError)
    assert (type(classify(failure)), lost_vms(failure)) == (Stockout, ("b1-0",))
    other = describe_failure("up of analysis/b1", [complaints[0], Complaint(text=PLAIN, resource="bucket")])
    assert (type(classify(other)), lost_vms(other)) == (Other, ("b1-0",))


def test_without_any_message_the_error_says_so() -> None:
    assert "gave no reason" in str(describe_failure("up of base/base", [], ""))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (
            'read ".pulumi/meta.yaml": blob (code=Unknown): stat /h/stacks/.pulumi/meta.yaml: not a directory',
            "move away",
        ),
        ("resource x cannot be deleted\nbecause it is protected", "protect to false"),
        ("incorrect passphrase", "PULUMI_CONFIG_PASSPHRASE"),
        ("wrong settings, nothing was declared:\n  opensees-hpc:owner: is not set", "correct the settings"),
    ],
)
def test_remedies(text: str, remedy: str) -> None:
    assert remedy in fail("destroy of base/base", [text]).remedy
