"""What commands look like on a terminal, and as JSON lines. The only place that prints."""

from __future__ import annotations

import json
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
from runner.errors import HpcError
from runner.model.events import Event, Listener
from runner.model.states import JobState

if TYPE_CHECKING:
    from runner.drill.program import DrillSummary
    from runner.drill.verdict import Verdict

STATE_STYLES = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.TIMED_OUT: "red",
    JobState.LOST: "bold red",
    JobState.UNKNOWN: "yellow",
}
PIPE_COLUMNS = 160
JOB_COLOURS = ("cyan", "magenta", "blue", "yellow", "green")


class TextScreen:
    """A listener's callbacks that print for people. Lines from several threads come whole."""

    def __init__(self, *, yes: bool, ask: Callable[[str], bool]) -> None:
        self.console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
        self._yes = yes
        self._ask = ask
        self._lock = threading.RLock()  # a signal's handler prints, too
        self._colours: dict[str, str] = {}

    def listener(self) -> Listener:
        """The callbacks."""
        return Listener(on_progress=self.show_event, on_log=self.show_line, on_confirm=self.confirm)

    def confirm(self, question: str) -> bool:
        """Yes by ``--yes``, or by a person at a terminal."""
        return self._yes or self._ask(question)

    def show_line(self, name: str, line: str) -> None:
        """A line of a job, with its name."""
        colour = self._colours.setdefault(name, JOB_COLOURS[len(self._colours) % len(JOB_COLOURS)])
        self._print(Text.assemble((name, colour), " │ ", printable(line)))

    def show_event(self, event: Event) -> None:
        """An event in a line or a few; what nobody wants to read is left out."""
        show = getattr(self, f"_show_{event.event}", None)
        if show is not None:
            show(event.facts)

    def show_error(self, error: HpcError, *, log: Path | None = None) -> None:
        """An error with its remedy and notes, and where the log is; no traceback."""
        kind = Text("error: ", style="bold red")
        lines = [Text.assemble(kind, printable(error.message, keep_lines=True))]
        lines += [Text(f"  {printable(note, keep_lines=True)}") for note in getattr(error, "__notes__", [])]
        if error.remedy:
            lines.append(Text.assemble(("remedy: ", "bold"), error.remedy))
        if log is not None:
            lines.append(Text(f"log: {log}", style="dim"))
        stderr = Console(stderr=True, highlight=False, soft_wrap=True)
        for line in lines:
            stderr.print(line)

    def show_summary(self, summary: RunSummary) -> None:
        """The table at the end, and what each phase took. Nothing if there was no batch."""
        if not summary.batch:
            return
        if summary.is_detached:
            self.console.print(
                f"batch {summary.batch} goes on without this client; go on with it: invoke attach --batch {summary.batch}"
            )
            return
        table = Table(title=f"batch {summary.batch}", title_justify="left")
        for column in ("job", "verdict", "exit code", "wall", "core time", "results"):
            is_number = column in ("exit code", "wall", "core time")
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
        """What is left, or that nothing is."""
        for item in (*summary.report.items_left, *summary.stays):
            self.console.print(Text(f"STILL THERE: {item}", style="bold red"))
        count = len(summary.report.removals)
        if summary.dry_run and count:
            self.console.print(f"a dry run: nothing was deleted; {count} would be")
        elif not summary.exit_code:
            self.console.print(f"{count} deleted, nothing is left" if count else "there is nothing to clean up")

    def show_drill(self, summary: DrillSummary) -> None:
        """A row for each trial, and whether all is well."""
        table = Table(title="drill", title_justify="left")
        columns = (
            "step",
            "what was done",
            "last VM gone after",
            "finished",
            "at home",
            "went on by",
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
            asked = "" if summary.replaced_s is None else f", and another one asked for after {summary.replaced_s} s"
            self._print(f"a VM that was taken away was noticed after at most {summary.noticed_s} s{asked}")

    def show_image(self, image: str, versions: Mapping[str, str], phases_s: Mapping[str, float]) -> None:
        """What was baked."""
        self.console.print(Text(f"image {image} is ready", style="green"))
        self.console.print("  " + ", ".join(f"{key} {value}" for key, value in versions.items()))
        self.console.print(
            Text("phases: " + "  ".join(f"{name} {s:.1f} s" for name, s in phases_s.items()), style="dim")
        )

    def show_status(self, values: Mapping[str, Any]) -> None:
        """What exists."""
        self.console.print(f"target {values['target']}, project {values['project']}")
        image = values["image"]
        self.console.print(
            f"image: {image['name']} of {image['created']}" if image else "image: none (invoke build makes one)"
        )
        table = Table("VM", "status", "batch or bake", "type", "zone", "expires (UTC)", "USD/h at most")
        for vm in values["vms"]:
            price = vm["usd_per_hour_at_most"]
            owner = vm["batch"] or vm["bake"]
            shown = "unknown" if price is None else f"{price:.2f}"
            table.add_row(vm["name"], vm["status"], owner, vm["machine_type"], vm["zone"], vm["expires"], shown)
        self.console.print(table if values["vms"] else "VMs: none")
        for thing in values["without_vm"]:
            what = f"{thing['kind']} {thing['name']} in {thing['place'] or 'all regions'}, which no VM of ours has"
            owner = thing["batch"] or thing["bake"]
            self.console.print(f"{what}, of {owner or 'no batch'}: {thing['usd_per_hour_at_most']:.4f} USD/h at most")
        for kind, thing in [("VM", vm) for vm in values["vms"]] + [(one["kind"], one) for one in values["without_vm"]]:
            if thing["outlived"]:
                why = f"{kind} {thing['name']} has outlived its purpose: {thing['outlived']} (invoke cleanup)"
                self.console.print(Text(why, style="yellow"))
        self.console.print("batches: " + (", ".join(batch["name"] for batch in values["batches"]) or "none"))
        bucket = values["bucket"]
        held = "; ".join(
            f"{item['name']}: {item['objects']} objects, {item['bytes']:,} bytes" for item in bucket["batches"]
        )
        self.console.print(f"bucket {bucket['name']}: " + ((held or "empty") if bucket["exists"] else "not made yet"))

    def show_receipt(self, values: Mapping[str, Any], page: Path) -> None:
        """What was intended, created and gone, and whether that is proven."""
        table = Table(title=f"receipt of {values['name']}", title_justify="left")
        for column in ("thing", "state", "the cloud's answer", "seconds", "USD at most"):
            table.add_column(
                column, overflow="fold", justify="right" if column in ("seconds", "USD at most") else "left"
            )
        for item in values["items"]:
            style = {"still there": "bold red", "unknown": "yellow"}.get(item["state"], "green")
            usd = "?" if item["usd_at_most"] is None else f"{item['usd_at_most']:.4f}"
            thing = f"{item['kind']} {item['name']}" + (f" in {item['zone']}" if item["zone"] else "")
            table.add_row(
                printable(thing), Text(item["state"], style), printable(item["answer"]), f"{item['seconds']:.0f}", usd
            )
        self._print(table)
        for trouble in values["troubles"]:
            self._show_warning({"message": trouble})
        more = "" if values["is_cost_known"] else ", and what has no known price"
        self._print(
            f"VM time {values['vm_seconds']:.0f} s, at most {values['usd_at_most']:.2f} USD{more} ({values['price']})"
        )
        if values["left_over"]:
            self._print(Text(f"STILL THERE: {'; '.join(values['left_over'])}", style="bold red"))
        elif values["unknown"]:
            self._print(Text(f"not proven gone: {'; '.join(values['unknown'])}", style="yellow"))
        elif values["asked"]:
            self._print(Text(f"nothing is left, says the cloud at {values['asked']}", style="green"))
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

    def _show_trial_started(self, facts: Mapping[str, Any]) -> None:
        self._print(Text(f"{facts['number']}/{facts['of']} {facts['step']}: {facts['what']}", style="dim"))

    def _show_trial(self, facts: Mapping[str, Any]) -> None:
        for problem in (*facts["problems"], *(f"STILL THERE: {item}" for item in facts["left_over"])):
            self._print(Text(f"  {printable(str(problem), keep_lines=True)}", style="red"))

    def _show_plan(self, facts: Mapping[str, Any]) -> None:
        count = len(facts["instances"])
        self._print(Text(f"batch {facts['batch']}: {facts['jobs']} jobs on {facts['target']}", style="bold"))
        self._print(
            f"  {count} {facts['provisioning']} VM{'s' * (count != 1)} {facts['machine_type']} "
            f"({facts['cores']} cores each) in {facts['zone']}, each deleted by the cloud after {facts['max_run_s'] / 60:.0f} min at the latest"
        )
        cost = (
            f"at most {facts['ceiling_usd']:.2f} USD ({facts['price_usd_per_hour']:.2f} USD an hour, list price on demand)"
            if facts["price_usd_per_hour"]
            else "nothing: the embedded cloud runs on this machine"
        )
        self._print(f"  cost: {cost}; results: {facts['results']}")

    def _show_phase(self, facts: Mapping[str, Any]) -> None:
        texts = {
            "up": "creating VMs with pulumi up",
            "destroy": "pulumi destroy",
            "base": "bucket, service account and network",
            "image": "image",
            "jobs": "running jobs",
        }
        if facts["phase"] in texts and facts["state"] == "started":
            self._print(Text(f"── {texts[facts['phase']]}", style="bold"))

    def _show_stack(self, facts: Mapping[str, Any]) -> None:
        if facts["op"] == "unlock":
            self._print(Text(f"   {facts['name']}: {printable(facts['message'])}", style="yellow"))
        elif facts["state"] != "started" and facts["op"] not in ("same", "read"):
            took = f" ({facts['seconds']:.1f} s)" if facts["state"] == "done" else f": {facts['message']}"
            self._print(Text(f"   {facts['op']} {facts['type']} {facts['name']} {facts['state']}{took}", style="dim"))

    def _show_instance(self, facts: Mapping[str, Any]) -> None:
        if facts["state"] == "ready":
            self._print(Text(f"   {facts['name']} is ready at {facts['address']}", style="dim"))
            return
        jobs = f"; looking for the results of {', '.join(facts['jobs'])}" if facts["jobs"] else ""
        self._print(Text(f"✗ {facts['name']} is lost: {printable(facts['reason'])}{jobs}", style="yellow"))

    def _show_step(self, facts: Mapping[str, Any]) -> None:
        self._print(Text(f"   {facts['what']}", style="dim"))

    def _show_job(self, facts: Mapping[str, Any]) -> None:
        if facts["state"] == "running":
            self._print(Text(f"▶ {facts['job']} on {facts['instance']}", style="dim"))
        elif facts["state"] == "waiting":
            self._print(Text(f"  {facts['job']} waits again: {facts['reason']}", style="yellow"))
        else:
            style = STATE_STYLES.get(JobState(facts["state"]), "")
            self._print(Text.assemble("■ ", (f"{facts['job']} {facts['state']}", style)))

    def _show_results(self, facts: Mapping[str, Any]) -> None:
        """What comes home is in the table at the end; here is what keeps it from coming."""
        if facts["state"] in ("corrupt", "unfinished"):
            where = facts["prefix"]
            self._print(Text(f"results {where} {facts['state']}: {printable(facts['message'])}", style="yellow"))
        elif facts["state"] in ("paused", "too big"):
            which = f"results of {facts['job']}" if "job" in facts else "results"
            text = f"{which} do not come home now: {printable(facts['message'])}; {facts['remedy']}"
            self._print(Text(text, style="bold red"))
        elif facts["state"] == "resumed":
            self._print("there is room again; results come home")

    def _show_warning(self, facts: Mapping[str, Any]) -> None:
        self._print(Text.assemble(("warning: ", "yellow"), printable(str(facts["message"]), keep_lines=True)))

    def _show_dead_session(self, facts: Mapping[str, Any]) -> None:
        kind = "bake" if facts["kind"] == "bake" else "batch"
        state = "goes on without a client" if facts["is_detached"] else f"was left by {facts['owner']}, which is gone"
        if not facts["is_from_here"]:
            state = f"was begun elsewhere by {facts['owner']}; let it be if that still runs"
        if facts["watched_by"]:
            state = f"is gone on with by {printable(facts['watched_by'])}"
        count, usd = facts["instances"], facts["usd_per_hour_at_most"]
        vms = "the cloud could not be asked" if count is None else f"{len(count)} VM{'s' * (len(count) != 1)} there now"
        cost = "" if usd is None else f", {usd:.2f} USD an hour at most"
        trouble = f" ({printable(facts['trouble'])})" if facts["trouble"] else ""
        over = sum(bool(vm["outlived"]) for vm in count or ())
        past = f", {over} of them past {'its' if over == 1 else 'their'} purpose (invoke cleanup)" if over else ""
        self._print(Text.assemble((f"{kind} {facts['name']} ", "bold yellow"), f"{state}: {vms}{past}{cost}{trouble}"))
        if facts["watched_by"]:
            self._print(f"  nothing has to be done; {facts['offers'][0]} to go on with it from here")
        else:
            self._print(f"  {' to go on, or '.join(facts['offers'])} to end it")

    def _show_bake_cleanup(self, facts: Mapping[str, Any]) -> None:
        what = "removing what it left" if facts["state"] == "started" else "nothing of it is left"
        self._print(Text(f"bake {facts['name']} lost its client: {what}", style="yellow"))

    def _show_cleanup(self, facts: Mapping[str, Any]) -> None:
        self._print(Text(f"── cleaning up: {printable(str(facts['reason']))}", style="bold yellow"))

    def _show_undo(self, facts: Mapping[str, Any]) -> None:
        self._print(Text(f"could not {facts['what']}: {facts['message']}", style="red"))

    def _show_found(self, facts: Mapping[str, Any]) -> None:
        mark, style = ("-", "yellow") if facts["taken"] else (" ", "dim")
        state = f" ({facts['state']})" if facts["state"] else ""
        self._print(Text(f" {mark} {facts['what']}{state}: {facts['reason']}", style=style))

    def _show_sweep(self, facts: Mapping[str, Any]) -> None:
        style = "red" if facts["state"] == "failed" else "yellow"
        self._print(Text(f"   {facts['what']} {facts['state']}: {facts.get('message', '')}", style=style))

    def _print(self, text: Text | Table | str) -> None:
        with self._lock:
            self.console.print(text)


class JsonScreen:
    """A listener's callbacks that print one JSON object a line."""

    def __init__(self, *, yes: bool, ask: Callable[[str], bool]) -> None:
        self._yes = yes
        self._ask = ask
        self._lock = threading.RLock()  # a signal's handler prints, too

    def listener(self) -> Listener:
        """The callbacks."""
        return Listener(
            on_progress=lambda event: self.write(event.event, event.facts),
            on_log=lambda name, line: self.write("log", {"job": name, "line": line}),
            on_confirm=lambda question: self._yes or self._ask(question),
        )

    def show_error(self, error: HpcError, *, log: Path | None = None) -> None:
        """An error as an event."""
        facts = {"message": error.message, "remedy": error.remedy, "exit_code": error.exit_code}
        more = {"notes": list(getattr(error, "__notes__", [])), "log": None if log is None else str(log)}
        self.write("error", facts | more)

    def show_summary(self, summary: RunSummary) -> None:
        """The last line."""
        self.write("summary", summary.as_json())

    def show_cleanup(self, summary: CleanupSummary) -> None:
        """The last line."""
        self.write("summary", summary.as_json())

    def show_drill(self, summary: DrillSummary) -> None:
        """The last line."""
        self.write("summary", summary.as_json())

    def write(self, event: str, facts: Mapping[str, Any]) -> None:
        """One line, flushed: a reader sees it at once."""
        with self._lock:
            sys.stdout.write(json.dumps({"event": event, **facts}, default=str) + "\n")
            sys.stdout.flush()


def printable(text: str, *, keep_lines: bool = False) -> str:
    """``text`` without control characters: a remote program must not drive this terminal."""
    kept = {"\t", "\n"} if keep_lines else {"\t"}
    return "".join(
        c if c in kept or unicodedata.category(c) not in ("Cc", "Cs", "Cf") else f"\\x{ord(c):02x}" for c in text
    )


def _phases(summary: RunSummary) -> str:
    """What each phase took; of one that several things go through at once, the longest."""
    longest = {f"{name} at most": max(parts.values()) for name, parts in summary.parts_s.items() if parts}
    return "  ".join(f"{name} {seconds:.1f} s" for name, seconds in {**summary.phases_s, **longest}.items())


def _drill_row(verdict: Verdict) -> tuple[Text | str, ...]:
    return (
        verdict.trial.moment,
        verdict.trial.what,
        "never" if verdict.empty_after_s is None else _duration(verdict.empty_after_s),
        f"{verdict.finished} of {verdict.jobs}",
        f"{verdict.home} of {verdict.jobs}",
        verdict.went_on or "itself",
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
    """A path as a user would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
