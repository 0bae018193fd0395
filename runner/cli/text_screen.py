"""What commands look like on a terminal. Events bring their own text; summaries and tables are drawn here."""

from __future__ import annotations

import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.batch import JobOutcome, RunSummary
from runner.commands.cleanup import CleanupSummary
from runner.model.events import STATE_STYLES, CommandFailed, Event, Line, Lines, Listener, Warned
from runner.model.states import JobState

if TYPE_CHECKING:
    from runner.drill.program import DrillSummary
    from runner.drill.verdict import Verdict

PIPE_COLUMNS = 160
JOB_COLOURS = ("cyan", "magenta", "blue", "yellow", "green")


class TextScreen:
    """A listener's callbacks that print for people. Lines of several threads are never mixed."""

    def __init__(self, *, yes: bool, ask: Callable[[str], bool]) -> None:
        self.console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
        self._yes = yes
        self._ask = ask
        self._lock = threading.RLock()  # a signal's handler prints, too
        self._colours: dict[str, str] = {}

    def listener(self) -> Listener:
        """Return the callbacks."""
        return Listener(on_progress=self.show_event, on_log=self.show_line, on_confirm=self.confirm)

    def confirm(self, question: str) -> bool:
        """Return True with ``--yes``, else the answer that is typed at the terminal."""
        return self._yes or self._ask(question)

    def show_line(self, name: str, line: str) -> None:
        """Print a line of a job, with its name."""
        colour = self._colours.setdefault(name, JOB_COLOURS[len(self._colours) % len(JOB_COLOURS)])
        self._print(Text.assemble((name, colour), " │ ", printable(line)))

    def show_event(self, event: Event) -> None:
        """Print the event's own text, if it has one."""
        self._print_lines(event.as_text() or ())

    def show_error(self, error: CommandFailed) -> None:
        """Print an error with its remedy and notes, and where the log is, on standard error; no traceback."""
        stderr = Console(stderr=True, highlight=False, soft_wrap=True)
        for line in error.as_text():
            stderr.print(_assemble(line))

    def show_summary(self, summary: RunSummary) -> None:
        """Print the table of jobs and the duration of each phase, or nothing if there was no batch."""
        if not summary.batch:
            return
        if summary.is_detached:
            self.console.print(
                f"batch {summary.batch} is running without this client; to continue it: invoke attach --batch {summary.batch}"
            )
            return
        table = Table(title=f"batch {summary.batch}", title_justify="left")
        for column in ("job", "verdict", "exit code", "wall time", "core time", "results"):
            is_number = column in ("exit code", "wall time", "core time")
            table.add_column(
                column, overflow="fold", no_wrap=column != "results", justify="right" if is_number else "left"
            )
        for job in summary.jobs:
            table.add_row(*_summary_row(job))
        self.console.print(table)
        for job in summary.jobs:
            self._show_why(job)
        self.console.print(Text(f"phases: {_phases(summary)}", style="dim"))
        for item in summary.left_over:
            self.console.print(Text(f"STILL THERE: {item}", style="bold red"))
        if not summary.left_over:
            self.console.print("nothing is left running")

    def show_cleanup(self, summary: CleanupSummary) -> None:
        """Print what is left, or that nothing is."""
        for item in (*summary.report.items_left, *summary.stays):
            self.console.print(Text(f"STILL THERE: {item}", style="bold red"))
        count = len(summary.report.removals)
        if summary.dry_run and count:
            self.console.print(f"dry run: nothing was deleted; {count} would have been")
        elif not summary.exit_code:
            self.console.print(f"{count} deleted, nothing is left" if count else "nothing to clean up")

    def show_drill(self, summary: DrillSummary) -> None:
        """Print a row for each trial, and how many of them are good."""
        table = Table(title="drill", title_justify="left")
        columns = (
            "step",
            "fault",
            "last VM gone after",
            "finished",
            "downloaded",
            "ended by",
            "left over",
            "verdict",
        )
        for column in columns:
            table.add_column(column, overflow="fold", justify="right" if column.startswith("last") else "left")
        for verdict in summary.verdicts:
            table.add_row(*_drill_row(verdict))
        self._print(table)
        good = sum(verdict.is_good for verdict in summary.verdicts)
        self._print(f"{good} of {len(summary.verdicts)} trials: nothing was left, nothing was lost")
        if summary.noticed_s is not None:
            requested = (
                ""
                if summary.replaced_s is None
                else f", and a replacement requested after at most {summary.replaced_s} s"
            )
            self._print(f"a preemption was noticed after at most {summary.noticed_s} s{requested}")

    def show_image(self, image: str, versions: Mapping[str, str], phases_s: Mapping[str, float]) -> None:
        """Print what was baked."""
        self.console.print(Text(f"image {image} is ready", style="green"))
        self.console.print("  " + ", ".join(f"{key} {value}" for key, value in versions.items()))
        self.console.print(
            Text("phases: " + "  ".join(f"{name} {s:.1f} s" for name, s in phases_s.items()), style="dim")
        )

    def show_status(self, values: Mapping[str, Any]) -> None:
        """Print what exists."""
        self.console.print(f"target {values['target']}, project {values['project']}")
        image = values["image"]
        self.console.print(
            f"image: {image['name']}, created {image['created']}"
            if image
            else "image: none (to bake one: invoke build)"
        )
        table = Table("VM", "status", "batch or bake", "type", "zone", "expires (UTC)", "USD/h at most")
        for vm in values["vms"]:
            price = vm["usd_per_hour_at_most"]
            owner = vm["batch"] or vm["bake"]
            shown = "unknown" if price is None else f"{price:.2f}"
            table.add_row(vm["name"], vm["status"], owner, vm["machine_type"], vm["zone"], vm["expires"], shown)
        self.console.print(table if values["vms"] else "VMs: none")
        for item in values["without_vm"]:
            what = f"{item['kind']} {item['name']} in {item['location'] or 'all regions'}, which no VM of ours uses"
            owner = item["batch"] or item["bake"]
            self.console.print(f"{what}, of {owner or 'no batch'}: {item['usd_per_hour_at_most']:.4f} USD/h at most")
        for kind, item in [("VM", vm) for vm in values["vms"]] + [(one["kind"], one) for one in values["without_vm"]]:
            if item["expired"]:
                why = f"{kind} {item['name']} has expired: {item['expired']} (invoke cleanup)"
                self.console.print(Text(why, style="yellow"))
        self.console.print("batches: " + (", ".join(batch["name"] for batch in values["batches"]) or "none"))
        bucket = values["bucket"]
        held = "; ".join(
            f"{part['name']}: {part['objects']} objects, {part['bytes']:,} bytes" for part in bucket["batches"]
        )
        self.console.print(
            f"bucket {bucket['name']}: " + ((held or "empty") if bucket["exists"] else "not created yet")
        )

    def show_receipt(self, values: Mapping[str, Any], page: Path) -> None:
        """Print what was intended, created and deleted, and whether the cloud has confirmed it."""
        table = Table(title=f"receipt of {values['name']}", title_justify="left")
        for column in ("resource", "state", "the cloud's answer", "seconds", "USD at most"):
            table.add_column(
                column, overflow="fold", justify="right" if column in ("seconds", "USD at most") else "left"
            )
        for item in values["items"]:
            style = {"still there": "bold red", "unknown": "yellow"}.get(item["state"], "green")
            usd = "?" if item["usd_at_most"] is None else f"{item['usd_at_most']:.4f}"
            resource = f"{item['kind']} {item['name']}" + (f" in {item['zone']}" if item["zone"] else "")
            table.add_row(
                printable(resource),
                Text(item["state"], style),
                printable(item["answer"]),
                f"{item['seconds']:.0f}",
                usd,
            )
        self._print(table)
        for trouble in values["troubles"]:
            self.show_event(Warned(message=trouble))
        more = "" if values["is_cost_known"] else ", plus resources without a known price"
        self._print(
            f"VM time {values['vm_seconds']:.0f} s, at most {values['usd_at_most']:.2f} USD{more} ({values['price']})"
        )
        if values["left_over"]:
            self._print(Text(f"STILL THERE: {'; '.join(values['left_over'])}", style="bold red"))
        elif values["unknown"]:
            self._print(Text(f"not proven gone: {'; '.join(values['unknown'])}", style="yellow"))
        elif values["asked"]:
            self._print(Text(f"nothing is left, as the cloud reported at {values['asked']}", style="green"))
        else:
            self._print(f"from the journal alone; invoke receipt {values['name']} --verify asks the cloud")
        if page.exists():
            self._print(Text(f"page: {page}", style="dim"))

    def _show_why(self, job: JobOutcome) -> None:
        if job.state is JobState.SUCCEEDED:
            return
        self._print(Text.assemble((job.name, "bold"), f" {job.state.value}", f": {job.message}" if job.message else ""))
        for line in job.last_lines:
            self._print(Text(f"    {printable(line)}", style="dim"))

    def _print(self, text: Text | Table | str) -> None:
        with self._lock:
            self.console.print(text)

    def _print_lines(self, lines: Lines) -> None:
        with self._lock:
            for line in lines:
                self.console.print(_assemble(line))


def printable(text: str) -> str:
    """Escape control characters, line breaks too: a remote program must not control this terminal."""
    return "".join(
        c if c == "\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cf") else f"\\x{ord(c):02x}" for c in text
    )


def _assemble(line: Line) -> Text:
    return Text.assemble(*((printable(span.text), span.style) for span in line))


def _phases(summary: RunSummary) -> str:
    """Return the duration of each phase; of one that several VMs go through at the same time, the longest."""
    longest = {f"{name} at most": max(parts.values()) for name, parts in summary.parts_s.items() if parts}
    return "  ".join(f"{name} {seconds:.1f} s" for name, seconds in {**summary.phases_s, **longest}.items())


def _drill_row(verdict: Verdict) -> tuple[Text | str, ...]:
    return (
        verdict.trial.moment,
        verdict.trial.what,
        "never" if verdict.empty_after_s is None else _duration(verdict.empty_after_s),
        f"{verdict.finished} of {verdict.jobs}",
        f"{verdict.downloaded} of {verdict.jobs}",
        verdict.ended_by or "itself",
        ", ".join(verdict.left_over) or "nothing",
        Text("ok", style="green") if verdict.is_good else Text("FAILED", style="bold red"),
    )


def _summary_row(job: JobOutcome) -> tuple[Text | str, ...]:
    return (
        job.name,
        Text(job.state.value, style=STATE_STYLES.get(job.state, "")),
        "" if job.exit_code is None else str(job.exit_code),
        _duration(job.wall_s),
        _duration(job.core_s),
        "" if job.results is None else _near(job.results),
    )


def _near(path: Path) -> str:
    """Return a path as a user would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
