"""Tasks: one word for each thing that is done here, by hand and in CI. Each calls ``runner.cli.verbs``, which is loaded when needed."""

from __future__ import annotations

import atexit
import gc
import inspect
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from runner.cli.output import open_closed_streams
from runner.errors import EXIT_CODES, INTERRUPTED_EXIT_CODE, MissingToolError

Body = TypeVar("Body", bound=Callable[..., None])
GC_OBJECTS = 100_000  # new ones before the collector looks; Python's own 700 to 2,000 are for small programs
HELP_WORDS = frozenset({"--help", "-h"})
JSON_HELP = "one JSON object a line instead of text"
YES_HELP = "do not ask; show what will be created and go on"
DEBUG_HELP = "a finer log, and on standard error too"


ANY_VERB = (0, 2, 10, 11, 129, 130, 143)
CLOUD_VERB = (*ANY_VERB, 3, 4)

open_closed_streams()
if Path(sys.argv[0]).name in ("invoke", "inv") or Path(sys.argv[0]).parts[-2:] == ("invoke", "__main__.py"):
    # What invoke prints itself (--help, --list) ends without a word when nobody reads on, as with any command. Verbs are not so.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _ends_with(*codes: int, meaning: Mapping[int, str] | None = None) -> Callable[[Body], Body]:
    """A task's help with its exit codes. ``meaning``: what some of them mean here."""
    meanings = {code: EXIT_CODES[code] for code in codes} | dict(meaning or {})

    def add(body: Body) -> Body:
        listed = "".join(f"\n  {code:3} {meanings[code]}" for code in sorted(meanings))
        body.__doc__ = f"{inspect.getdoc(body)}\n\nExit codes:{listed}"
        return body

    return add


def _call(verb: str, **arguments: Any) -> None:
    """Run a verb of ``runner.cli.verbs`` and leave with its exit code."""
    if HELP_WORDS.intersection(value for value in arguments.values() if isinstance(value, str)):
        # Invoke takes the word for an argument that has no default.
        os.execv(sys.executable, [sys.executable, "-m", "invoke", "--help", verb])  # noqa: S606 (our own interpreter)
    # Pulumi's and Google's packages are hundreds of thousands of objects that stay to the end. To look through them again and
    # again while they are loaded, and once more at the exit, takes a second of each command (python -X importtime).
    gc.set_threshold(GC_OBJECTS)
    atexit.register(gc.freeze)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a reader that goes away ends no batch: runner.cli.output
    try:
        from runner.cli import verbs as cli
    except ModuleNotFoundError as error:
        message = f"error: the Python package {error.name} is missing\nremedy: start commands as `./bootstrap invoke …`"
        raise Exit(message=message, code=MissingToolError.exit_code) from error
    except KeyboardInterrupt as error:  # Invoke would end with 1, which means another thing
        raise Exit(code=INTERRUPTED_EXIT_CODE) from error

    code = getattr(cli, verb)(**arguments)
    if code:
        raise Exit(code=code)


@task(
    help={
        "jobs": "the jobs file, such as jobs/batch1.yaml",
        "yes": YES_HELP,
        "json": JSON_HELP + "; the last has event: summary",
        "results": "the folder for results (default: results)",
        "detach": "leave when every VM has enough to do; `invoke attach` goes on with the batch",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(
    *CLOUD_VERB, 1, 5, 6, 7, 8, 9, meaning={0: "every job succeeded and nothing is left", 1: "a job did not succeed"}
)
def run(
    c: Context,
    jobs: str,
    yes: bool = False,
    json: bool = False,
    results: str = "results",
    detach: bool = False,
    debug: bool = False,
) -> None:
    """Run a batch of OpenSees analyses and leave nothing running."""
    _call("run", jobs=jobs, yes=yes, as_json=json, results=results, detach=detach, debug=debug)


@task(
    help={
        "batch": "the batch; may be left out if there is only one",
        "json": JSON_HELP,
        "results": "the folder for results (default: results)",
        "take-over": "also from another client that seems to be watching",
        "debug": DEBUG_HELP,
    },
)
@_ends_with(
    *CLOUD_VERB,
    1,
    5,
    6,
    8,
    meaning={0: "every job succeeded and nothing is left, or the batch goes on", 1: "a job did not succeed"},
)
def attach(
    c: Context,
    batch: str = "",
    json: bool = False,
    results: str = "results",
    take_over: bool = False,
    debug: bool = False,
) -> None:
    """Go on with a batch that runs without a client, from any machine: after --detach, a crash, a closed laptop."""
    _call("attach", batch=batch, as_json=json, results=results, take_over=take_over, debug=debug)


@task(
    help={
        "batch": "the batch that runs",
        "minutes": "how much later; negative for earlier",
        "job": "this job only",
        "json": "one JSON object",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(*CLOUD_VERB)
def extend(c: Context, batch: str, minutes: str = "", job: str = "", json: bool = False, debug: bool = False) -> None:
    """Move the deadlines of a running batch, from any machine; never beyond the end of its VMs, which is shown."""
    _call("extend", batch=batch, minutes=minutes, job=job, as_json=json, debug=debug)


@task(
    help={
        "batch": "bring home what this batch has in the bucket; without it: list what is there, of which batch",
        "json": JSON_HELP + "; the last has event: summary. Without --batch: one object",
        "results": "the folder for results (default: results)",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(
    *CLOUD_VERB,
    meaning={0: "all that was pushed is home", 1: "something is damaged or not pushed to its end", 10: "no room here"},
)
def results(c: Context, batch: str = "", json: bool = False, results: str = "results", debug: bool = False) -> None:
    """List the results that are still in the bucket, or bring those of a batch home, verified."""
    _call("results", batch=batch, as_json=json, folder=results, debug=debug)


@task(
    help={
        "yes": YES_HELP,
        "json": JSON_HELP,
        "recipe": "wheels (minutes) or full (from source); default: settings",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(*CLOUD_VERB, 5, 6, 7, 8, 9)
def build(c: Context, yes: bool = False, json: bool = False, recipe: str = "", debug: bool = False) -> None:
    """Bake and validate a new image of the family opensees-hpc."""
    _call("build", yes=yes, as_json=json, recipe=recipe, debug=debug)


@task(help={"json": "one JSON object: target, project, image, vms, batches, bucket, cost", "debug": DEBUG_HELP})
@_ends_with(*CLOUD_VERB, 6)
def status(c: Context, json: bool = False, debug: bool = False) -> None:
    """Say what exists, from the cloud itself: image, VMs, batches, bucket, cost by the hour."""
    _call("status", as_json=json, debug=debug)


@task(
    help={
        "batch": "end this batch: everything that bears its label",
        "bake": "end this bake",
        "everything": "everything of yours, running or not, except what a live client is working on; with --results the base and its bucket too",
        "results": "results too (with --batch), or the bucket (with --everything)",
        "owner": "whose things: yours if not given, any for everybody's",
        "dry-run": "show the same list, delete nothing",
        "yes": "do not ask",
        "json": JSON_HELP + "; the last has event: summary",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(
    *CLOUD_VERB,
    6,
    8,
    9,
    meaning={
        0: "nothing is left of what was asked for",
        2: "there is no such batch, or a command of this machine is at it",
        8: "something is left: a client is at it, it is another owner's, it is new since the question, it could not be "
        "deleted or looked at",
    },
)
def cleanup(
    c: Context,
    batch: str = "",
    bake: str = "",
    everything: bool = False,
    results: bool = False,
    owner: str = "",
    dry_run: bool = False,
    yes: bool = False,
    json: bool = False,
    debug: bool = False,
) -> None:
    """Delete what has outlived its purpose, or a batch, a bake, everything; found by label, without any local memory.

    What is deleted is what was shown. A client that lives keeps what it is at; --batch ends a batch whose client is on another
    machine all the same.
    """
    arguments = {"batch": batch, "bake": bake, "everything": everything, "results": results, "owner": owner}
    _call("cleanup", **arguments, dry_run=dry_run, yes=yes, as_json=json, debug=debug)


@task(
    help={
        "batch": "the batch, or the bake",
        "verify": "ask the cloud again for each thing, by name and by label",
        "json": "one JSON object; docs/receipt.md describes it",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(
    *CLOUD_VERB,
    8,
    meaning={
        0: "nothing is left, or the cloud was not asked",
        4: "the cloud could not say",
        8: "something is still there",
    },
)
def receipt(c: Context, batch: str, verify: bool = False, json: bool = False, debug: bool = False) -> None:
    """Show what a batch or bake intended, created and left, with times and cost."""
    _call("receipt", batch=batch, verify=verify, as_json=json, debug=debug)


@task(
    help={
        "all": "every kind of harm at every step; takes about half an hour",
        "only": "these trials, such as job-running/kill-client,gone/drop,random/7-3",
        "random": "so many trials with random harm at random moments instead",
        "seed": "in an order and with delays, or with the random harm, that this number stands for",
        "on": "local: an embedded cloud of its own; google: one analysis whose VM is taken away, in your project",
        "yes": "do not ask before anything is created on google",
        "json": JSON_HELP + "; the last has event: summary",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(*CLOUD_VERB, 1, 6, 7, 9, meaning={1: "a trial was not good"})
def drill(
    c: Context,
    all: bool = False,
    only: str = "",
    random: str = "",
    seed: str = "",
    on: str = "local",
    yes: bool = False,
    json: bool = False,
    debug: bool = False,
) -> None:
    """Fire drill: kill the client of a batch at each step of its journal; see that nothing is left and nothing is lost."""
    _call("drill", everything=all, only=only, seed=seed, count=random, on=on, yes=yes, as_json=json, debug=debug)


@task(help={"shell": "start a shell with that environment instead of printing it", "debug": DEBUG_HELP})
@_ends_with(*CLOUD_VERB, 6)
def env(c: Context, shell: bool = False, debug: bool = False) -> None:
    """Print the environment in which plain pulumi works on our stacks: eval "$(invoke env)"."""
    _call("env", shell=shell, debug=debug)


@task(
    help={
        "project": "project ID on Google Cloud; needed the first time, as is --operator",
        "region": "region of bucket and VMs (default: that of the settings file, else europe-west4)",
        "operator": "your e-mail at Google, for OS Login",
        "ssh-from": "from where you reach the VMs: your own address as 198.51.100.7/32, several with commas",
        "yes": YES_HELP,
        "debug": DEBUG_HELP,
    }
)
@_ends_with(*CLOUD_VERB, 6, 8, 9)
def setup(
    c: Context,
    project: str = "",
    operator: str = "",
    region: str = "",
    ssh_from: str = "",
    yes: bool = False,
    debug: bool = False,
) -> None:
    """Point this user's commands at a project on Google Cloud: check it, make the bucket for Pulumi's state, write the settings.

    Only what is given changes; the rest of the settings file stays. A stack base that is there is brought up to date with it.
    """
    _call("setup", project=project, operator=operator, region=region, ssh_from=ssh_from, yes=yes, debug=debug)


@task(name="start", help={"debug": DEBUG_HELP})
@_ends_with(*ANY_VERB, 4)
def local_start(c: Context, debug: bool = False) -> None:
    """Start the embedded cloud (commands do it by themselves)."""
    _call("local_start", debug=debug)


@task(name="stop", help={"debug": DEBUG_HELP})
@_ends_with(*ANY_VERB, 4)
def local_stop(c: Context, debug: bool = False) -> None:
    """Stop the embedded cloud; its instances end, what it was told stays."""
    _call("local_stop", debug=debug)


@task(name="status", help={"json": JSON_HELP, "debug": DEBUG_HELP})
@_ends_with(*ANY_VERB)
def local_status(c: Context, json: bool = False, debug: bool = False) -> None:
    """Say whether the embedded cloud runs, and where."""
    _call("local_status", as_json=json, debug=debug)


@task(name="reset", help={"yes": "do not ask", "debug": DEBUG_HELP})
@_ends_with(*ANY_VERB, 4, 9)
def local_reset(c: Context, yes: bool = False, debug: bool = False) -> None:
    """Stop the embedded cloud and delete everything in it, the state of its stacks, and the journals and receipts of its batches.

    Results that are at home stay.
    """
    _call("local_reset", yes=yes, debug=debug)


@task(
    name="faults",
    help={
        "scenario": "a YAML file with faults and when they come, see docs/faults.md",
        "clear": "disarm everything first",
        "json": JSON_HELP,
        "debug": DEBUG_HELP,
    },
)
@_ends_with(*ANY_VERB, 4)
def local_faults(c: Context, scenario: str = "", clear: bool = False, json: bool = False, debug: bool = False) -> None:
    """Let things go wrong in the embedded cloud, and show what is armed."""
    _call("local_faults", scenario=scenario, clear=clear, as_json=json, debug=debug)


@task(name="env", help={"debug": DEBUG_HELP})
@_ends_with(*ANY_VERB, 4)
def local_env(c: Context, debug: bool = False) -> None:
    """Print the environment in which Google's own clients use the embedded cloud: eval "$(invoke local.env)"."""
    _call("local_env", debug=debug)


@task(help={"debug": DEBUG_HELP})
@_ends_with(*ANY_VERB, 1, 3)
def lint(c: Context, debug: bool = False) -> None:
    """Check types, style and shell scripts: mypy, ruff, shellcheck, shfmt."""
    _call("lint", debug=debug)


@task(
    help={
        "select": "arguments for pytest, such as 'tests/model -k batch'",
        "no-lint": "tests only",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(*ANY_VERB, 1, 3)
def test(c: Context, select: str = "", no_lint: bool = False, debug: bool = False) -> None:
    """Install the system packages that tests need where that is allowed, lint, and run all tests."""
    _call("test", select=select, with_lint=not no_lint, debug=debug)


@task(
    help={
        "all": "the README's second command too, all tests: an hour",
        "bare": "without the Pulumi CLI of this machine, so that it is downloaded or built: some minutes more",
        "debug": DEBUG_HELP,
    }
)
@_ends_with(*ANY_VERB, 1, 3)
def fresh(c: Context, all: bool = False, bare: bool = False, debug: bool = False) -> None:
    """Try the README's first command on a minimal Debian, made with debootstrap, as an ordinary user. Needs root."""
    _call("fresh", both=all, bare=bare, debug=debug)


@task(help={"check": "only say whether they are up to date", "debug": DEBUG_HELP})
@_ends_with(*ANY_VERB, 1)
def docs(c: Context, check: bool = False, debug: bool = False) -> None:
    """Write the generated parts of docs/: the schema of jobs files."""
    _call("docs", check=check, debug=debug)


local = Collection("local", local_start, local_stop, local_status, local_reset, local_faults, local_env)
ns = Collection(
    run, attach, extend, results, build, status, receipt, cleanup, drill, env, setup, lint, test, fresh, docs, local
)
ns.configure({"run": {"pty": sys.stdout.isatty()}})
