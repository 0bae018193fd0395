"""One trial: a batch, harmed once at one step; then what the nets leave, what goes on, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from runner.commands.definition import DEFINITION
from runner.drill.batch import DrillBatch
from runner.drill.harm import VMS_TAKEN, Harm, Taken, offspring
from runner.drill.site import Client, DrillSite
from runner.drill.steps import Step, read_records, wait_for_step
from runner.errors import HpcError
from runner.model import names
from runner.model.leftover import BILLED, Kind
from runner.model.session_record import Record

NETS_LIMIT_S = 60.0  # after the lease
CLIENT_LIMIT_S = 300.0
LOOK_EVERY_S = 0.5
STEPS = list(Step)
MEMORY = (Kind.CONTROL, Kind.RESULTS, Kind.STACK)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """``delay_s``: between the record of the step and the harm. ``number``: of those that differ in their batch's name only."""

    step: Step
    harm: Harm
    delay_s: float = 0.0
    number: int = 0

    @property
    def ends_client(self) -> bool:
        """Whether the client has to obey before its batch is done."""
        return self.harm in (Harm.SIGINT, Harm.SIGTERM) and STEPS.index(self.step) <= STEPS.index(Step.JOB_RUNNING)

    @property
    def name(self) -> str:
        """As ``--only`` has it."""
        return f"{self.step.value}/{self.harm.value}" + (f"-{self.number}" if self.number else "")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a trial.

    ``empty_after_s``: from the harm until nothing billable was left, before anybody went on; None if that did not come.
    ``finished``: jobs that had ended by then, ``home`` those whose results are at home at the end, of ``jobs``.
    ``went_on``: the command that ended the batch, '' if its own client did. Of VMs that were taken away: ``noticed_s``, the
    longest until the client knew, and ``replaced_s``, until it then asked for another one.
    """

    trial: Trial
    batch: str
    jobs: int
    finished: int = 0
    home: int = 0
    empty_after_s: float | None = None
    client_exit_code: int | None = None
    went_on: str = ""
    noticed_s: float | None = None
    replaced_s: float | None = None
    left_over: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def is_good(self) -> bool:
        """Nothing left, nothing lost, nothing untrue."""
        return not self.left_over and not self.problems

    def as_json(self) -> dict[str, Any]:
        """JSON values of the event ``trial``."""
        return {
            "step": self.trial.step.value,
            "harm": self.trial.harm.value,
            "what": self.trial.harm.description,
            "batch": self.batch,
            "client_exit_code": self.client_exit_code,
            "empty_after_s": self.empty_after_s,
            "jobs": self.jobs,
            "finished": self.finished,
            "home": self.home,
            "went_on": self.went_on,
            "noticed_s": self.noticed_s,
            "replaced_s": self.replaced_s,
            "left_over": list(self.left_over),
            "problems": list(self.problems),
            "verdict": "ok" if self.is_good else "FAILED",
        }


class TrialRun:
    """Carries one trial out. ``carry_out`` never raises HpcError: what went wrong is in the verdict."""

    def __init__(self, site: DrillSite, trial: Trial, batch: DrillBatch) -> None:
        self._site = site
        self._trial = trial
        self._batch = batch
        self._results = site.folder / batch.name / "results"
        self._problems: list[str] = []
        self._seen_until: float | None = None
        self._client_ended_at = 0.0
        self._taken: Taken = {}

    def carry_out(self) -> Verdict:
        """From the batch's start to its end."""
        verdict = Verdict(trial=self._trial, batch=self._batch.name, jobs=len(self._batch.jobs))
        try:
            verdict = self._carry_out(verdict)
        except HpcError as error:
            self._problems.append(f"the drill itself could not go on: {error}")
        return replace(verdict, problems=tuple(self._problems))

    def _carry_out(self, verdict: Verdict) -> Verdict:
        file = self._batch.write(self._site.folder / self._batch.name)
        client = self._site.start("run", "--jobs", str(file), "--yes", "--json", "--results", str(self._results))
        try:
            offspring_then = self._strike(client)
            struck_at, struck_on = time.monotonic(), self._site.context.now()
            if not client.has_ended_within(CLIENT_LIMIT_S):
                stands_at = client.where_it_stands()
                self._problems.append(f"the client did not end within {CLIENT_LIMIT_S:.0f} s; it stood at {stands_at}")
        finally:
            if client.is_running():
                client.process.kill()
                client.wait(CLIENT_LIMIT_S)
            self._trial.harm.undo(self._site)
        self._client_ended_at = time.monotonic()
        left = self._wait_for_nets(offspring_then, struck_at)
        finished = self._finished()
        self._check_summary(client)
        went_on = self._go_on(finished, client)
        left = left or self._left_at_the_end()
        self._check_results(finished, is_whole=client.exit_code == 0 or went_on == "attach")
        return replace(
            verdict,
            finished=len(finished),
            home=len(self._batch.attempts_at_home(self._results)),
            empty_after_s=None if left else self._empty_after_s(struck_at, struck_on, went_on),
            client_exit_code=client.exit_code,
            went_on=went_on,
            left_over=left,
            noticed_s=self._noticed_s("lost"),
            replaced_s=self._noticed_s("intend"),
        )

    def _noticed_s(self, kind: str) -> float | None:
        """The longest time from taking a VM away to this record about it in the journal, or the first one after it was lost."""
        delays = []
        records = read_records(self._journal) if self._taken else ()
        for vm, taken_at in self._taken.items():
            lost = next((each.at for each in records if each.kind == "lost" and each.text("name") == vm), None)
            later = [
                each.at for each in records if lost and each.kind == kind and each.at >= lost and _is_about_vm(each)
            ]
            delays += [(min(later) - taken_at).total_seconds()] if later else []
        return round(max(delays), 1) if delays else None

    @property
    def _journal(self) -> Path:
        return self._site.context.journal.folder / f"{self._batch.name}.jsonl"

    def _strike(self, client: Client) -> list[psutil.Process]:
        """Do the harm at its step; the processes that the client had then."""
        jobs = len(self._batch.jobs)
        is_there = wait_for_step(self._journal, self._trial.step, jobs=jobs, goes_on=client.is_running)
        if not is_there:
            self._problems.append(f"the batch never came to {self._trial.step.value}: {client.last_words()}")
            return []
        time.sleep(self._trial.delay_s)
        running = offspring(client.pid)
        self._taken = self._trial.harm.do(self._site, client, self._batch.name)
        if self._trial.harm is Harm.EVERY_VM and len(self._taken) < VMS_TAKEN:
            self._problems.append(f"the batch was over when only {len(self._taken)} of its VMs had been taken away")
        return running

    def _wait_for_nets(self, running: list[psutil.Process], struck_at: float) -> tuple[str, ...]:
        """Nobody does anything now. Wait until nothing billable is there, and nothing runs that could make it; what is left."""
        give_up_at = time.monotonic() + self._site.lease_s + NETS_LIMIT_S
        while True:
            engines = [process for process in running if process.is_running() and process.status() != "zombie"]
            things = self._billed()
            if things:
                self._seen_until = time.monotonic()
            if not things and not engines:
                return ()
            if time.monotonic() > give_up_at:
                return (*things, *(f"process {process.pid} {process.name()}" for process in engines))
            time.sleep(LOOK_EVERY_S)

    def _empty_after_s(self, struck_at: float, struck_on: datetime, went_on: str) -> float:
        """Since the harm: as it was seen, or where a client ended its VMs itself, as its journal has it.

        A journal that could not be written any more does not say: then they were gone at the client's end.
        """
        if self._seen_until is not None:
            return round(self._seen_until - struck_at, 1)
        session = self._site.context.journal.read(self._batch.name)
        vms = [item for item in session.created if item.kind == "instance"] if session else []
        if any(item.gone is None or went_on for item in vms):
            return round(self._client_ended_at - struck_at, 1)
        return round(max([0.0, *((item.gone - struck_on).total_seconds() for item in vms if item.gone)]), 1)

    def _billed(self) -> tuple[str, ...]:
        found = self._site.context.cloud.estate.find(BILLED, names.labels_of_batch(self._batch.name))
        return (*map(str, found.items), *map(str, found.unread))

    def _finished(self) -> dict[str, int]:
        """The jobs whose results are safe, at home or in the bucket, with their attempt."""
        found = {item.job: item.attempt for item in self._site.context.cloud.results.result_sets(self._batch.name)}
        return found | self._batch.attempts_at_home(self._results)

    def _check_summary(self, client: Client) -> None:
        """What the client said at its end must be so."""
        if client.exit_code is None or client.exit_code < 0:
            return
        summary: Mapping[str, Any] = next(
            (event for event in reversed(client.events()) if event.get("event") == "summary"), {}
        )
        home = self._batch.attempts_at_home(self._results)
        said = {job["name"] for job in summary.get("jobs", []) if job["status"] == "succeeded"}
        if lies := said - set(home):
            self._problems.append(f"said to have succeeded, but not at home: {', '.join(sorted(lies))}")
        ended = [
            event["job"] for event in client.events() if (event["event"], event.get("state")) == ("job", "succeeded")
        ]
        if twice := {job for job in ended if ended.count(job) > 1}:
            self._problems.append(f"ended more than once: {', '.join(sorted(twice))}")
        if client.exit_code == 0 and len(said) != len(self._batch.jobs):
            self._problems.append("exit code 0, though not all jobs are said to have succeeded")
        if client.exit_code == 0 and self._trial.ends_client:
            self._problems.append("exit code 0, though it was told to end before its jobs had ended")
        if client.exit_code != 0 and client.has_traceback():
            self._problems.append(f"a traceback: {client.last_words()[-600:]}")
        if client.exit_code != 0 and self._trial.harm.is_survived:
            self._problems.append(f"it has to get over this, and ended with {client.exit_code}: {client.last_words()}")
        if client.exit_code == 8:
            self._problems.append(f"something was left, it said: {client.last_words()[-600:]}")

    def _go_on(self, finished: Mapping[str, int], client: Client) -> str:
        """The second command of the user: attach where the batch can go on, cleanup where it never began or is over."""
        batch = self._batch.name
        is_open = self._site.context.cloud.results.get_control(batch, DEFINITION) is not None
        session = self._site.context.journal.read(batch)
        if not is_open and (session is None or session.has_ended):
            return ""
        if is_open and client.exit_code == 0:
            self._problems.append("exit code 0, though the batch is still open in the bucket")
        verb = "attach" if is_open else "cleanup"
        more = ("--results", str(self._results)) if is_open else ("--yes",)
        second = self._site.invoke(verb, "--batch", batch, "--json", *more)
        if second.exit_code != 0:
            self._problems.append(f"invoke {verb} ended with {second.exit_code}: {second.last_words()[-1500:]}")
        return verb

    def _left_at_the_end(self) -> tuple[str, ...]:
        """What is still there when the batch is over: nothing billable, no stack, nothing in the bucket."""
        labels = names.labels_of_batch(self._batch.name)
        found = self._site.context.cloud.estate.find((*BILLED, *MEMORY), labels)
        theirs = [str(item) for item in found.items if item.batch == self._batch.name]
        return (*theirs, *map(str, found.unread))

    def _check_results(self, finished: Mapping[str, int], *, is_whole: bool) -> None:
        home = self._batch.attempts_at_home(self._results)
        self._problems += self._batch.problems_at_home(self._results)
        for job, attempt in finished.items():
            if job not in home:
                self._problems.append(f"{job} had finished, and its results are lost")
            elif home[job] != attempt:
                self._problems.append(f"{job} had finished in attempt {attempt}, and was run again")
        if is_whole and (missing := set(self._batch.jobs) - set(home)):
            self._problems.append(f"the batch has ended without {', '.join(sorted(missing))}")
        self._check_journal()

    def _check_journal(self) -> None:
        """It knew of every VM before there was one, and of the end."""
        session = self._site.context.journal.read(self._batch.name)
        if session is not None and not session.has_ended:
            self._problems.append("its journal says that it has not ended")
        intended: set[str] = set()
        for record in read_records(self._journal):
            if record.kind == "intend":
                intended.add(record.text("name"))
            elif record.kind == "created" and record.text("name") not in intended:
                self._problems.append(f"its journal heard of {record.text('name')} only when it was there")


def _is_about_vm(record: Record) -> bool:
    return record.text("kind") == "instance"
