"""The verbs of the embedded cloud itself."""

from typing import Annotated

from runner.options.options import ANY_VERB, JsonLines, Options, YesOnly, usual_exits


class Start(Options, verb="local.start", exits=ANY_VERB | usual_exits(4)):
    """Start the embedded cloud. Commands that need it start it too."""


class Stop(Options, verb="local.stop", exits=ANY_VERB | usual_exits(4)):
    """Stop the embedded cloud and its instances; its state is kept."""


class Status(Options, verb="local.status", exits=ANY_VERB):
    """Show whether the embedded cloud is running, and where."""

    json: JsonLines = False


class Reset(Options, verb="local.reset", exits=ANY_VERB | usual_exits(4, 9)):
    """Stop the embedded cloud and delete everything in it, the state of its stacks, and the journals and receipts of its batches.

    Downloaded results are kept.
    """

    yes: YesOnly = False


class Faults(Options, verb="local.faults", exits=ANY_VERB | usual_exits(4)):
    """Arm faults in the embedded cloud, and list those that are armed."""

    scenario: Annotated[str, "a YAML file with faults and their times, see docs/faults.md"] = ""
    clear: Annotated[bool, "disarm everything first"] = False
    json: JsonLines = False


class Env(Options, verb="local.env", exits=ANY_VERB | usual_exits(4)):
    """Print the environment in which Google's own clients use the embedded cloud: eval "$(invoke local.env)"."""
