"""The verbs of a project: set-up, image, the environment of plain Pulumi, drills."""

from typing import Annotated

from runner.options.options import CLOUD_VERB, JsonLines, JsonWithSummary, Options, Yes, usual_exits


class Setup(Options, verb="setup", exits=CLOUD_VERB | usual_exits(6, 8, 9)):
    """Point this user's commands at a project on Google Cloud: check it, create the bucket for Pulumi's state, write the settings.

    Only the given settings change; the rest of the settings file stays. An existing base stack is updated to match.
    """

    project: Annotated[str, "project ID on Google Cloud; needed the first time, as is --operator"] = ""
    operator: Annotated[str, "the e-mail address of your Google account, for OS Login"] = ""
    region: Annotated[str, "region of bucket and VMs (default: that of the settings file, else europe-west4)"] = ""
    ssh_from: Annotated[
        str, "the addresses from which you reach the VMs: your own as 198.51.100.7/32; separate several with commas"
    ] = ""
    yes: Yes = False


class Build(Options, verb="build", exits=CLOUD_VERB | usual_exits(5, 6, 7, 8, 9)):
    """Bake and validate a new image of the family opensees-hpc."""

    yes: Yes = False
    json: JsonLines = False
    recipe: Annotated[str, "wheels (minutes) or full (from source); default: as in the settings"] = ""


class Env(Options, verb="env", exits=CLOUD_VERB | usual_exits(6)):
    """Print the environment in which plain pulumi works on our stacks: eval "$(invoke env)"."""

    shell: Annotated[bool, "start a shell with that environment instead of printing it"] = False


class Drill(Options, verb="drill", exits=CLOUD_VERB | usual_exits(6, 7, 9) | {1: "a trial failed"}):
    """Fire drill: kill the client of a batch at each step of its journal; check that nothing is left and nothing is lost."""

    all: Annotated[bool, "every kind of fault at every step; takes about half an hour"] = False
    only: Annotated[str, "these trials, such as job-running/kill-client,gone/drop,random/7-3"] = ""
    random: Annotated[str, "this many trials with random faults at random moments instead"] = ""
    seed: Annotated[str, "the seed of the order and the delays, or of the random faults"] = ""
    on: Annotated[
        str, "local: an embedded cloud of its own; google: one analysis whose VM is preempted, in your project"
    ] = "local"
    yes: Annotated[bool, "do not ask before creating resources on google"] = False
    json: JsonWithSummary = False
