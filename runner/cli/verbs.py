"""The verbs of ``tasks.py``: build a context, call a command, print, return the exit code. No traceback reaches a user."""

from __future__ import annotations

import faulthandler
import functools
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import wiring
from runner.cli.console import JsonScreen, TextScreen
from runner.cli.ending import tell_end, tell_lost_output, threads_told
from runner.cli.output import drain_output, patient_output
from runner.context import Context
from runner.errors import MissingToolError
from runner.teardown import raised_signals
from runner.wiring import embedded

if TYPE_CHECKING:
    from runner.batch import RunReport, RunSummary

Screen = TextScreen | JsonScreen


def _ask(question: str) -> bool:
    """Ask a person; where there is none, the answer is no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write(f"{question} Not a terminal: give --yes to agree.\n")
        return False
    drain_output()
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _screen(*, as_json: bool, yes: bool) -> Screen:
    kind = JsonScreen if as_json else TextScreen
    return kind(yes=yes, ask=_ask)


def _verb(function: Callable[..., int]) -> Callable[..., int]:
    """Errors as sentences with their exit codes, on the screen that the verb uses. Who reads them holds nothing up.

    Every verb has a log; ``debug``: a finer one, on standard error too.
    """
    name = function.__name__.replace("_", ".")

    @functools.wraps(function)
    def call(*, debug: bool = False, **arguments: Any) -> int:
        faulthandler.register(signal.SIGUSR1)  # kill -USR1 has a command that stands still say where, on standard error
        session = str(arguments.get("batch") or arguments.get("bake") or "")
        with patient_output(), threads_told():
            screen = _screen(as_json=bool(arguments.get("as_json")), yes=False)
            try:
                with wiring.command_log(os.environ, name, arguments, session=session, debug=debug):
                    try:
                        return tell_lost_output(name, function(**arguments))
                    except (Exception, KeyboardInterrupt) as error:
                        return tell_end(screen, error)
            except (Exception, KeyboardInterrupt) as error:  # before there is a log, or after it
                return tell_end(screen, error)

    return call


def _run_to_summary(screen: Screen, execute: Callable[[RunReport], RunSummary]) -> int:
    """Drive a batch, and show what it came to, whatever ends it; the exit code."""
    from runner.batch import RunReport

    report = RunReport()
    try:
        with raised_signals():
            summary = execute(report)
    except (Exception, KeyboardInterrupt) as error:
        summary = report.cut_off(tell_end(screen, error))
    screen.show_summary(summary)
    return summary.exit_code


def _tell_dead_sessions(
    context: Context, screen: Screen | None, *, but: str = "", may_clean: bool = True
) -> list[dict[str, Any]]:
    """At the start of a command that reaches the cloud: batches that nobody looks after, with what they cost; dead bakes are
    cleaned up. As JSON values too, for a command that prints one object: it has no screen for them.
    """
    from runner.model.events import Listener
    from runner.recovery import report_dead_sessions

    heard = context.with_listener(Listener() if screen is None else screen.listener())
    found = report_dead_sessions(heard, besides=[but] if but else [], may_clean=may_clean)
    return [item.as_json() for item in found]


def _text_screen(*, as_json: bool) -> TextScreen | None:
    """Where a command whose JSON is one object tells people what it meets."""
    return None if as_json else TextScreen(yes=False, ask=_ask)


@_verb
def run(*, jobs: str, yes: bool, as_json: bool, results: str, detach: bool = False) -> int:
    """Run a batch."""
    from runner.commands import run as command

    screen = _screen(as_json=as_json, yes=yes)

    def execute(report: RunReport) -> RunSummary:
        context = wiring.make_context(results_folder=Path(results).absolute(), listener=screen.listener())
        _tell_dead_sessions(context, screen)
        return command.execute(context, jobs_file=Path(jobs), yes=yes, detach=detach, report=report)

    return _run_to_summary(screen, execute)


@_verb
def attach(*, batch: str, as_json: bool, results: str, take_over: bool) -> int:
    """Go on with a batch."""
    from runner.commands import attach as command

    screen = _screen(as_json=as_json, yes=True)

    def execute(report: RunReport) -> RunSummary:
        context = wiring.make_context(results_folder=Path(results).absolute(), listener=screen.listener())
        _tell_dead_sessions(context, screen, but=batch)
        return command.execute(context, batch=batch, take_over=take_over, report=report)

    return _run_to_summary(screen, execute)


@_verb
def extend(*, batch: str, minutes: str, job: str, as_json: bool) -> int:
    """Give running jobs more time."""
    from runner.commands import extend as command

    more = command.read_minutes(minutes)
    context = wiring.make_context()
    dead = _tell_dead_sessions(context, _text_screen(as_json=as_json), but=batch)
    extension = command.execute(context, batch=batch, minutes=more, job=job)
    _write(json.dumps(extension.as_json() | {"dead_sessions": dead}) if as_json else str(extension))
    return 0


@_verb
def results(*, batch: str, as_json: bool, folder: str) -> int:
    """List what is still in the bucket, or bring home what a batch has there."""
    from runner.commands import results as command

    screen = _screen(as_json=as_json, yes=True)
    context = wiring.make_context(results_folder=Path(folder).absolute(), listener=screen.listener())
    if not batch:
        dead = _tell_dead_sessions(context, _text_screen(as_json=as_json))
        values = command.list_sets(context) | {"dead_sessions": dead}
        _write(json.dumps(values, indent=2) if as_json else "\n".join(command.list_lines(values)))
        return 0
    _tell_dead_sessions(context, screen, but=batch)
    summary = command.execute(context, batch=batch)
    if isinstance(screen, JsonScreen):
        screen.write("summary", summary.as_json())
    else:
        _write("\n".join(summary.lines))
    return summary.exit_code


@_verb
def build(*, yes: bool, as_json: bool, recipe: str) -> int:
    """Bake an image."""
    from runner.commands import build as command
    from runner.errors import InputError

    context = wiring.make_context()
    recipe = recipe or context.settings.image_recipe
    if recipe not in command.RECIPES:
        raise InputError(f"unknown recipe {recipe!r}", remedy=f"known: {', '.join(command.RECIPES)}")
    screen = _screen(as_json=as_json, yes=yes)
    _tell_dead_sessions(context, screen)
    summary = command.execute(context.with_listener(screen.listener()), recipe=recipe, yes=yes)
    if isinstance(screen, JsonScreen):
        screen.write("summary", summary.as_json())
    else:
        screen.show_image(summary.image, summary.versions, summary.phases_s)
    return 0


@_verb
def status(*, as_json: bool) -> int:
    """Say what exists."""
    from runner.commands import status as command

    context = wiring.make_context()
    dead = _tell_dead_sessions(context, _text_screen(as_json=as_json))
    values = command.execute(context) | {"dead_sessions": dead}
    if as_json:
        _write(json.dumps(values, indent=2))
    else:
        TextScreen(yes=False, ask=_ask).show_status(values)
    return 0


@_verb
def receipt(*, batch: str, verify: bool, as_json: bool) -> int:
    """Show a receipt, or prove it again."""
    from runner.commands import receipt as command

    context = wiring.make_context()
    dead = _tell_dead_sessions(context, _text_screen(as_json=as_json), but=batch) if verify else []
    view = command.execute(context, name=batch, verify=verify)
    if as_json:
        _write(json.dumps({**view.values, "dead_sessions": dead} if verify else view.values, indent=2))
    else:
        TextScreen(yes=False, ask=_ask).show_receipt(view.values, view.page)
    return view.exit_code


@_verb
def cleanup(
    *,
    batch: str,
    bake: str,
    everything: bool,
    results: bool,
    owner: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Remove what has outlived its purpose."""
    from runner.commands import cleanup as command

    request = command.CleanupRequest(
        batch=batch, bake=bake, everything=everything, results=results, owner=owner, dry_run=dry_run, yes=yes
    )
    screen = _screen(as_json=as_json, yes=yes)
    context = wiring.make_context(listener=screen.listener())
    _tell_dead_sessions(context, screen, but=batch or bake, may_clean=False)
    summary = command.execute(context, request=request)
    screen.show_cleanup(summary)
    return summary.exit_code


@_verb
def drill(*, everything: bool, only: str, seed: str, count: str, on: str, yes: bool, as_json: bool) -> int:
    """Harm batches on purpose, and show what the nets leave."""
    from runner.drill import places, program, request
    from runner.errors import DeclinedError

    trials = request.read_trials(everything=everything, only=only, seed=seed, count=count, on=on)
    screen = _screen(as_json=as_json, yes=yes)
    listener = screen.listener()
    if on == "google" and not listener.on_confirm(
        "Run an analysis of a minute on a spot VM of your project, which costs money?"
    ):
        raise DeclinedError("nothing was created", remedy="agree, or give --yes where nobody can be asked")
    place = places.google_site if on == "google" else places.temporary_local_site
    with place(os.environ, lambda message: listener.tell("warning", message=message)) as site:
        summary = program.execute(site, trials, listener)
    screen.show_drill(summary)
    return summary.exit_code


@_verb
def env(*, shell: bool) -> int:
    """Print, or start a shell with, the environment for plain ``pulumi``."""
    context = wiring.make_context()
    context.cloud.open()
    added = wiring.pulumi_shell_environment(context)
    if shell:
        own = os.environ.get("SHELL") or "/bin/sh"
        try:
            return subprocess.call([own], env=os.environ | added)  # noqa: S603 (the user's own shell)
        except OSError as error:
            raise MissingToolError(
                f"the shell {own} does not start: {error.strerror}", remedy="let SHELL name one that does"
            ) from error
    _write_exports(added)
    return 0


@_verb
def setup(*, project: str, operator: str, region: str, ssh_from: str, yes: bool) -> int:
    """Point this user's commands at a project on Google Cloud."""
    from runner.commands import setup as command

    file = wiring.settings_file(os.environ)
    ranges = [part.strip() for part in ssh_from.split(",") if part.strip()]
    typed = {"project": project, "operator": operator, "region": region, "ssh_source_ranges": ranges}
    merged = command.merge_settings(wiring.settings_text(os.environ), file, typed)
    context = wiring.make_context(
        os.environ | {"OPENSEES_HPC_TARGET": "google"},
        instead_of_file=merged.text,
        listener=_screen(as_json=False, yes=yes).listener(),
    )
    state = command.execute(context, file=file, text=merged.text)
    is_beside = state.startswith("gs://") and not context.settings.secrets_provider
    _write(f"Pulumi's state{', with its passphrase beside it' if is_beside else ''}: {state}")
    if merged.kept:
        _write(f"kept from {file}: {', '.join(merged.kept)}")
    _write(f"settings written to {file}; next: invoke build")
    return 0


@_verb
def local_start() -> int:
    """Start the embedded cloud."""
    endpoint = embedded.start_embedded_cloud(os.environ)
    _write(f"the embedded cloud answers at {endpoint.url}")
    return 0


@_verb
def local_stop() -> int:
    """Stop the embedded cloud."""
    was_running = embedded.stop_embedded_cloud(os.environ)
    _write("the embedded cloud has stopped" if was_running else "the embedded cloud was not running")
    return 0


@_verb
def local_status(*, as_json: bool) -> int:
    """Say whether the embedded cloud runs."""
    values = embedded.embedded_cloud_status(os.environ)
    if as_json:
        _write(json.dumps(values))
    elif values["running"]:
        _write(f"the embedded cloud answers at {values['url']} (process {values['pid']}); its state: {values['state']}")
        if not values["objects_closed"]:
            _write("other users of this computer can reach the objects in its buckets: see docs/safety.md")
    else:
        _write(f"the embedded cloud does not run; its state: {values['state']}")
    if not as_json:
        _write(f"tracebacks in its log, each a defect of ours: {values['tracebacks']}; its log: {values['log']}")
    return 0


@_verb
def local_reset(*, yes: bool) -> int:
    """Delete the embedded cloud and all that is remembered of it."""
    from runner.errors import DeclinedError

    what = "everything in the embedded cloud (images, VMs, buckets with results that are not home)"
    memory = "the state of its stacks, and the journals and receipts of its batches"
    if not yes and not _ask(f"Delete {what}, {memory}?"):
        raise DeclinedError("nothing was deleted", remedy="agree, or give --yes where nobody can be asked")
    embedded.reset_embedded_cloud(os.environ)
    _write(f"the embedded cloud is empty; gone too: {memory}")
    return 0


@_verb
def local_faults(*, scenario: str, clear: bool, as_json: bool) -> int:
    """Arm the faults of a scenario, or disarm all; then show what is armed."""
    if clear:
        embedded.clear_faults(os.environ)
    values = embedded.play_scenario(os.environ, Path(scenario)) if scenario else embedded.list_faults(os.environ)
    if as_json:
        _write(json.dumps(values))
    for fault in () if as_json else [*values["faults"], *values["scenario"]]:
        _write(json.dumps(fault))
    return 0


@_verb
def local_env() -> int:
    """Print the environment for Google's clients."""
    _write_exports(embedded.google_client_environment(os.environ))
    return 0


@_verb
def lint() -> int:
    """Types, style, shell scripts."""
    from runner.cli import checks

    return checks.lint(wiring.ROOT)


@_verb
def test(*, select: str, with_lint: bool) -> int:
    """Lint and tests."""
    from runner.cli import checks
    from runner.commands.arguments import read_words

    return checks.test(wiring.ROOT, select=read_words("--select", select), with_lint=with_lint)


@_verb
def fresh(*, both: bool, bare: bool) -> int:
    """The README on a fresh machine."""
    from runner.cli import checks

    with raised_signals():
        return checks.fresh(wiring.ROOT, both=both, bare=bare)


@_verb
def docs(*, check: bool) -> int:
    """The generated parts of docs/."""
    from runner.cli import checks

    return checks.write_docs(wiring.ROOT, check=check)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _write_exports(variables: dict[str, str]) -> None:
    for key, value in variables.items():
        _write(f"export {key}={shlex.quote(value)}")
