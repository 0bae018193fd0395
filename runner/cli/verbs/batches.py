"""The verbs of batches, from run to receipt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner import wiring
from runner.cli.ending import report_end
from runner.cli.json_screen import JsonScreen
from runner.cli.text_screen import TextScreen
from runner.cli.verbs.verb import Screen, new_screen, new_text_screen, report_abandoned, verb, write
from runner.options import batches
from runner.teardown import raised_signals

if TYPE_CHECKING:
    from runner.batch import RunReport, RunSummary


@verb
def run(options: batches.Run) -> int:
    """Run a batch."""
    from runner.commands import run as command

    screen = new_screen(as_json=options.json, yes=options.yes)

    def execute(report: RunReport) -> RunSummary:
        context = wiring.make_context(results_folder=_absolute(options.results), listener=screen.listener())
        report_abandoned(context, screen)
        return command.execute(context, options, report=report)

    return _run_to_summary(screen, execute)


@verb
def attach(options: batches.Attach) -> int:
    """Continue a batch."""
    from runner.commands import attach as command

    screen = new_screen(as_json=options.json, yes=True)

    def execute(report: RunReport) -> RunSummary:
        context = wiring.make_context(results_folder=_absolute(options.results), listener=screen.listener())
        report_abandoned(context, screen, but=options.batch)
        return command.execute(context, options, report=report)

    return _run_to_summary(screen, execute)


def _run_to_summary(screen: Screen, execute: Callable[[RunReport], RunSummary]) -> int:
    """Execute a batch, show its summary even if an error ends it, and return the exit code."""
    from runner.batch import RunReport

    report = RunReport()
    try:
        with raised_signals():
            summary = execute(report)
    except (Exception, KeyboardInterrupt) as error:
        summary = report.cut_off(report_end(screen, error))
    screen.show_summary(summary)
    return summary.exit_code


@verb
def extend(options: batches.Extend) -> int:
    """Move the deadlines of a running batch."""
    from runner.commands import extend as command

    more = command.read_minutes(options.minutes)
    context = wiring.make_context()
    abandoned = report_abandoned(context, _text_screen(options.json), but=options.batch)
    extension = command.execute(context, batch=options.batch, minutes=more, job=options.job)
    write(json.dumps(extension.as_json() | {"abandoned": abandoned}) if options.json else str(extension))
    return 0


@verb
def results(options: batches.Results) -> int:
    """List the results in the bucket, or download those of a batch."""
    from runner.commands import results as command

    screen = new_screen(as_json=options.json, yes=True)
    context = wiring.make_context(results_folder=_absolute(options.results), listener=screen.listener())
    if not options.batch:
        abandoned = report_abandoned(context, _text_screen(options.json))
        values = command.list_sets(context) | {"abandoned": abandoned}
        write(json.dumps(values, indent=2) if options.json else "\n".join(command.list_lines(values)))
        return 0
    report_abandoned(context, screen, but=options.batch)
    summary = command.execute(context, batch=options.batch)
    if isinstance(screen, JsonScreen):
        screen.write("summary", summary.as_json())
    else:
        write("\n".join(summary.lines))
    return summary.exit_code


@verb
def status(options: batches.Status) -> int:
    """Show what exists."""
    from runner.commands import status as command

    context = wiring.make_context()
    abandoned = report_abandoned(context, _text_screen(options.json))
    values = command.execute(context) | {"abandoned": abandoned}
    if options.json:
        write(json.dumps(values, indent=2))
    else:
        new_text_screen().show_status(values)
    return 0


@verb
def cleanup(options: batches.Cleanup) -> int:
    """Delete expired resources, or what the options name."""
    from runner.commands import cleanup as command

    screen = new_screen(as_json=options.json, yes=options.yes)
    context = wiring.make_context(listener=screen.listener())
    report_abandoned(context, screen, but=options.batch or options.bake, may_clean=False)
    summary = command.execute(context, options)
    screen.show_cleanup(summary)
    return summary.exit_code


@verb
def receipt(options: batches.Receipt) -> int:
    """Show a receipt, or verify it again."""
    from runner.commands import receipt as command

    context = wiring.make_context()
    abandoned = report_abandoned(context, _text_screen(options.json), but=options.batch) if options.verify else []
    view = command.execute(context, options)
    if options.json:
        write(json.dumps({**view.values, "abandoned": abandoned} if options.verify else view.values, indent=2))
    else:
        new_text_screen().show_receipt(view.values, view.page)
    return view.exit_code


def _text_screen(as_json: bool) -> TextScreen | None:
    """Return the screen for events of a command whose JSON is one object; None if it prints that."""
    return None if as_json else new_text_screen()


def _absolute(folder: str) -> Path:
    return Path(folder).absolute()
