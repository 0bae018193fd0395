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
    detach: Annotated[bool, "leave when every VM has enough to do; `invoke attach` goes on with the batch"] = False


class Attach(
    Options,
    verb="attach",
    exits=CLOUD_VERB
    | usual_exits(5, 6, 8)
    | {0: "every job succeeded and nothing is left, or the batch goes on"}
    | JOB_FAILED,
):
    """Go on with a batch that runs without a client, from any machine: after --detach, a crash, a closed laptop."""

    batch: Annotated[str, "the batch; may be left out if there is only one"] = ""
    json: JsonLines = False
    results: ResultsFolder = "results"
    take_over: Annotated[bool, "also from another client that seems to be watching"] = False


class Extend(Options, verb="extend", exits=CLOUD_VERB):
    """Move the deadlines of a running batch, from any machine; never beyond the end of its VMs, which is shown."""

    batch: Annotated[str, "the batch that runs"]
    minutes: Annotated[str, "how much later; negative for earlier"] = ""
    job: Annotated[str, "this job only"] = ""
    json: JsonObject = False


class Results(
    Options,
    verb="results",
    exits=CLOUD_VERB
    | {0: "all that was pushed is home", 1: "something is damaged or not pushed to its end", 10: "no room here"},
):
    """List the results that are still in the bucket, or bring those of a batch home, verified."""

    batch: Annotated[
        str, "bring home what this batch has in the bucket; without it: list what is there, of which batch"
    ] = ""
    json: Annotated[bool, JSON_WITH_SUMMARY_HELP + ". Without --batch: one object"] = False
    results: ResultsFolder = "results"


class Status(Options, verb="status", exits=CLOUD_VERB | usual_exits(6)):
    """Say what exists, from the cloud itself: image, VMs, batches, bucket, cost by the hour."""

    json: Annotated[bool, "one JSON object: target, project, image, vms, batches, bucket, cost"] = False


class Cleanup(
    Options,
    verb="cleanup",
    exits=CLOUD_VERB
    | usual_exits(6, 9)
    | {
        0: "nothing is left of what was asked for",
        2: "there is no such batch, or a command of this machine is at it",
        8: "something is left: a client is at it, it is another owner's, it is new since the question, it could not be "
        "deleted or looked at",
    },
):
    """Delete what has outlived its purpose, or a batch, a bake, everything; found by label, without any local memory.

    What is deleted is what was shown. A client that lives keeps what it is at; --batch ends a batch whose client is on another
    machine all the same.
    """

    batch: Annotated[str, "end this batch: everything that bears its label"] = ""
    bake: Annotated[str, "end this bake"] = ""
    everything: Annotated[
        bool,
        "everything of yours, running or not, except what a live client is working on; with --results the base and its bucket too",
    ] = False
    results: Annotated[bool, "results too (with --batch), or the bucket (with --everything)"] = False
    owner: Annotated[str, "whose things: yours if not given, any for everybody's"] = ""
    dry_run: Annotated[bool, "show the same list, delete nothing"] = False
    yes: YesOnly = False
    json: JsonWithSummary = False


class Receipt(
    Options,
    verb="receipt",
    exits=CLOUD_VERB
    | {
        0: "nothing is left, or the cloud was not asked",
        4: "the cloud could not say",
        8: "something is still there",
    },
):
    """Show what a batch or bake intended, created and left, with times and cost."""

    batch: Annotated[str, "the batch, or the bake"]
    verify: Annotated[bool, "ask the cloud again for each thing, by name and by label"] = False
    json: Annotated[bool, "one JSON object; docs/receipt.md describes it"] = False
