"""The verbs of the embedded cloud itself."""

from typing import Annotated

from runner.options.options import ANY_VERB, JsonLines, Options, YesOnly, usual_exits


class Start(Options, verb="local.start", exits=ANY_VERB | usual_exits(4)):
    """Start the embedded cloud (commands do it by themselves)."""


class Stop(Options, verb="local.stop", exits=ANY_VERB | usual_exits(4)):
    """Stop the embedded cloud; its instances end, what it was told stays."""


class Status(Options, verb="local.status", exits=ANY_VERB):
    """Say whether the embedded cloud runs, and where."""

    json: JsonLines = False


class Reset(Options, verb="local.reset", exits=ANY_VERB | usual_exits(4, 9)):
    """Stop the embedded cloud and delete everything in it, the state of its stacks, and the journals and receipts of its batches.

    Results that are at home stay.
    """

    yes: YesOnly = False


class Faults(Options, verb="local.faults", exits=ANY_VERB | usual_exits(4)):
    """Let things go wrong in the embedded cloud, and show what is armed."""

    scenario: Annotated[str, "a YAML file with faults and when they come, see docs/faults.md"] = ""
    clear: Annotated[bool, "disarm everything first"] = False
    json: JsonLines = False


class Env(Options, verb="local.env", exits=ANY_VERB | usual_exits(4)):
    """Print the environment in which Google's own clients use the embedded cloud: eval "$(invoke local.env)"."""
