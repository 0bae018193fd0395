"""The verbs of batches, from run to receipt."""

from typing import Annotated

from runner.options.options import (
    CLOUD_VERB,
    JSON_WITH_SUMMARY_HELP,
    JsonLines,
    JsonObject,
    JsonWithSummary,
    Options,
    ResultsFolder,
    Yes,
    YesOnly,
    usual_exits,
)

JOB_FAILED = {1: "a job did not succeed"}


class Run(
    Options,
    verb="run",
    exits=CLOUD_VERB | usual_exits(5, 6, 7, 8, 9) | {0: "every job succeeded and nothing is left"} | JOB_FAILED,
):
    """Run a batch of OpenSees analyses and leave nothing running."""

    jobs: Annotated[str, "the jobs file, such as jobs/batch1.yaml"]
    yes: Yes = False
    json: JsonWithSummary = False
    results: ResultsFolder = "results"
    detach: Annotated[bool, "exit when every VM has enough jobs; `invoke attach` continues the batch"] = False


class Attach(
    Options,
    verb="attach",
    exits=CLOUD_VERB
    | usual_exits(5, 6, 8)
    | {0: "every job succeeded and nothing is left, or the batch is still running"}
    | JOB_FAILED,
):
    """Continue a batch that runs without a client, from any computer: after --detach, a crash, a closed laptop."""

    batch: Annotated[str, "the batch; optional if there is only one"] = ""
    json: JsonLines = False
    results: ResultsFolder = "results"
    take_over: Annotated[bool, "take the batch over even if another client may still be watching it"] = False


class Extend(Options, verb="extend", exits=CLOUD_VERB):
    """Move the deadlines of a running batch, from any computer; the end of its VMs, which is shown, is the limit."""

    batch: Annotated[str, "the running batch"]
    minutes: Annotated[str, "move them this many minutes later; negative: earlier"] = ""
    job: Annotated[str, "only this job"] = ""
    json: JsonObject = False


class Results(
    Options,
    verb="results",
    exits=CLOUD_VERB
    | {
        0: "all pushed results are downloaded",
        1: "a result is corrupt or was not pushed completely",
        10: "no disk space here",
    },
):
    """List the results that are still in the bucket, or download and verify those of a batch."""

    batch: Annotated[str, "download the results of this batch; without it: list the results in the bucket by batch"] = (
        ""
    )
    json: Annotated[bool, JSON_WITH_SUMMARY_HELP + ". Without --batch: one object"] = False
    results: ResultsFolder = "results"


class Status(Options, verb="status", exits=CLOUD_VERB | usual_exits(6)):
    """Show what exists, as the cloud reports it: image, VMs, batches, bucket, cost per hour."""

    json: Annotated[bool, "one JSON object: target, project, image, vms, batches, bucket, cost"] = False


class Cleanup(
    Options,
    verb="cleanup",
    exits=CLOUD_VERB
    | usual_exits(6, 9)
    | {
        0: "nothing that was to be deleted is left",
        2: "there is no such batch, or a command on this computer is using it",
        8: "something is left: a client uses it, another owner has it, it is new since the question, or it could not be "
        "deleted or read",
    },
):
    """Delete expired resources, or a batch, a bake, everything; found by label, without any local state.

    Only what was shown is deleted. What a living client uses is kept, but --batch ends a batch even if its client, on another
    computer, is alive.
    """

    batch: Annotated[str, "end this batch: delete everything with its label"] = ""
    bake: Annotated[str, "end this bake"] = ""
    everything: Annotated[
        bool,
        "all of your resources, running or not, except those in use by a living client; with --results the base and its bucket too",
    ] = False
    results: Annotated[bool, "delete the results too (with --batch), or the bucket (with --everything)"] = False
    owner: Annotated[str, "owner of the resources (default: you); any: all owners"] = ""
    dry_run: Annotated[bool, "show the same list, delete nothing"] = False
    yes: YesOnly = False
    json: JsonWithSummary = False


class Receipt(
    Options,
    verb="receipt",
    exits=CLOUD_VERB
    | {
        0: "nothing is left, or the cloud was not asked",
        4: "the cloud gave no answer",
        8: "something still exists",
    },
):
    """Show what a batch or bake planned, created and left, with times and cost."""

    batch: Annotated[str, "the batch, or the bake"]
    verify: Annotated[bool, "ask the cloud about each resource again, by name and by label"] = False
    json: Annotated[bool, "one JSON object; docs/receipt.md describes it"] = False
