"""One trial: inject a fault into a batch at one step; then check what is left, resume the batch, and check its results."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import psutil

from runner.drill.batch import DrillBatch
from runner.drill.evidence import Evidence
from runner.drill.faults import STARTING, VMS_TAKEN, Fault, Taken, descendants
from runner.drill.site import Client, DrillSite
from runner.drill.steps import Step, read_records, wait_for_step
from runner.drill.verdict import Verdict
from runner.errors import HpcError
from runner.model import names
from runner.model.journal_record import Record

CLIENT_LIMIT_S = 300.0
SLOW_BOOT_S = 3.0  # so that the fault comes while VMs are being created
STEPS = list(Step)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """``delay_s``: between the record of the step and the fault. ``number``: distinguishes trials that differ only in their batch's name."""

    step: Step
    fault: Fault
    delay_s: float = 0.0
    number: int = 0

    @property
    def ends_client(self) -> bool:
        """Whether the fault makes the client end before its batch is done."""
        return self.fault in (Fault.SIGINT, Fault.SIGTERM) and STEPS.index(self.step) <= STEPS.index(Step.JOB_RUNNING)

    @property
    def name(self) -> str:
        """The name that ``--only`` takes."""
        return f"{self.step.value}/{self.fault.value}" + (f"-{self.number}" if self.number else "")

    @property
    def moment(self) -> str:
        """The step at which the fault is injected, for the table."""
        return self.step.value

    @property
    def what(self) -> str:
        """The fault, for the table."""
        return self.fault.description


class TrialRun:
    """Carries out one trial. ``carry_out`` never raises HpcError: what went wrong is in the verdict."""

    def __init__(self, site: DrillSite, trial: Trial, batch: DrillBatch) -> None:
        self._site = site
        self._trial = trial
        self._batch = batch
        self._results = site.folder / batch.name / "results"
        self._evidence = Evidence(site=site, batch=batch, results=self._results)
        self._problems: list[str] = []
        self._seen_until: float | None = None
        self._client_ended_at = 0.0
        self._taken: Taken = {}

    def carry_out(self) -> Verdict:
        """Carry out the trial, from the batch's start to its end."""
        verdict = Verdict(trial=self._trial, batch=self._batch.name, jobs=len(self._batch.jobs))
        defects_before = len(self._site.defects())
        try:
            verdict = self._carry_out(verdict)
        except HpcError as error:
            self._problems.append(f"the drill itself could not continue: {error}")
        self._problems += [f"a traceback of the cloud: {defect}" for defect in self._site.defects()[defects_before:]]
        return replace(verdict, problems=tuple(self._problems))

    def _carry_out(self, verdict: Verdict) -> Verdict:
        file = self._batch.write(self._site.folder / self._batch.name)
        self._slow_down_boots()
        client = self._site.start("run", "--jobs", str(file), "--yes", "--json", "--results", str(self._results))
        try:
            processes_then = self._inject(client)
            injected_at, injected_on = time.monotonic(), self._site.context.now()
            if not client.has_ended_within(CLIENT_LIMIT_S):
                stacks = client.read_stacks()
                self._problems.append(
                    f"the client did not end within {CLIENT_LIMIT_S:.0f} s; its stacks were: {stacks}"
                )
        finally:
            if client.is_running():
                client.process.kill()
                client.wait(CLIENT_LIMIT_S)
            self._trial.fault.clear(self._site)
            self._restore_boots()
        self._client_ended_at = time.monotonic()
        left = self._evidence.wait_for_nets(processes_then, on_look=self._note_items)
        finished = self._evidence.finished()
        self._check_summary(client)
        ended_by = self._resume(client)
        left = left or self._evidence.left()
        self._check_results(finished, is_whole=client.exit_code == 0 or ended_by == "attach")
        return replace(
            verdict,
            finished=len(finished),
            downloaded=len(self._evidence.downloaded()),
            empty_after_s=None if left else self._empty_after_s(injected_at, injected_on, ended_by),
            client_exit_code=client.exit_code,
            ended_by=ended_by,
            left_over=left,
            noticed_s=self._noticed_s("lost"),
            replaced_s=self._noticed_s("intend"),
        )

    def _slow_down_boots(self) -> None:
        if self._trial.step is Step.UP_RUNNING and self._site.faults is not None:
            ours = names.instance_name(self._batch.name, 0)[:-1]
            self._site.faults.arm({"kind": "slow_boot", "match": f"/{ours}", "delay_s": SLOW_BOOT_S, "times": None})

    def _restore_boots(self) -> None:
        if self._trial.step is Step.UP_RUNNING and self._site.faults is not None:
            self._site.faults.clear()

    def _creates_vm(self) -> bool:
        found = self._site.context.cloud.compute.instances(names.labels_of_batch(self._batch.name))
        return any(vm.status in STARTING for vm in found)

    def _noticed_s(self, kind: str) -> float | None:
        """Return the longest time from a VM's preemption to this record about it in the journal, or the first one after it was lost."""
        delays = []
        records = read_records(self._evidence.journal) if self._taken else ()
        for vm, taken_at in self._taken.items():
            lost = next((each.at for each in records if each.kind == "lost" and each.text("name") == vm), None)
            later = [
                each.at for each in records if lost and each.kind == kind and each.at >= lost and _is_about_vm(each)
            ]
            delays += [(min(later) - taken_at).total_seconds()] if later else []
        return round(max(delays), 1) if delays else None

    def _inject(self, client: Client) -> list[psutil.Process]:
        """Inject the fault at its step; return the processes that the client had then."""
        jobs = len(self._batch.jobs)
        is_there = wait_for_step(
            self._evidence.journal,
            self._trial.step,
            jobs=jobs,
            is_running=client.is_running,
            creates_vm=self._creates_vm,
        )
        if not is_there:
            self._problems.append(f"the batch never reached {self._trial.step.value}: {client.last_output()}")
            return []
        time.sleep(self._trial.delay_s)
        running = descendants(client.pid)
        self._taken = self._trial.fault.inject(self._site, client, self._batch.name)
        if self._trial.fault is Fault.EVERY_VM and len(self._taken) < VMS_TAKEN:
            self._problems.append(f"the batch was over when only {len(self._taken)} of its VMs had been preempted")
        return running

    def _note_items(self, items: tuple[str, ...]) -> None:
        if items:
            self._seen_until = time.monotonic()

    def _empty_after_s(self, injected_at: float, injected_on: datetime, ended_by: str) -> float:
        """Return seconds since the fault: as observed, or where a client ended its VMs itself, by its journal.

        If the journal could not be written any more, they count as gone when the client ended.
        """
        if self._seen_until is not None:
            return round(self._seen_until - injected_at, 1)
        journal = self._site.context.journals.read(self._batch.name)
        vms = [item for item in journal.created if item.kind == "instance"] if journal else []
        if any(item.gone is None or ended_by for item in vms):
            return round(self._client_ended_at - injected_at, 1)
        return round(max([0.0, *((item.gone - injected_on).total_seconds() for item in vms if item.gone)]), 1)

    def _check_summary(self, client: Client) -> None:
        """Check that the client's summary is true."""
        if client.exit_code is None or client.exit_code < 0:
            return
        states = {job["name"]: job["status"] for job in client.summary().get("jobs", [])}
        self._problems += self._evidence.false_reports(states)
        ended = [
            event["job"] for event in client.events() if (event["event"], event.get("state")) == ("job", "succeeded")
        ]
        if twice := {job for job in ended if ended.count(job) > 1}:
            self._problems.append(f"ended more than once: {', '.join(sorted(twice))}")
        if client.exit_code == 0 and list(states.values()).count("succeeded") != len(self._batch.jobs):
            self._problems.append("exit code 0, but not all jobs are reported as succeeded")
        if client.exit_code == 0 and self._trial.ends_client:
            self._problems.append("exit code 0, but it was signalled to end before its jobs had ended")
        if client.has_crashed():
            self._problems.append(f"a fault in opensees-hpc: {client.last_output()[-600:]}")
        if client.exit_code != 0 and self._trial.fault.must_be_survived:
            self._problems.append(
                f"the client must survive this fault, but ended with {client.exit_code}: {client.last_output()}"
            )
        if client.exit_code == 8:
            self._problems.append(f"resources were left over: {client.last_output()[-600:]}")

    def _resume(self, client: Client) -> str:
        """Run the user's second command and return its verb: attach if the batch can continue, cleanup if it never started or is over."""
        batch = self._batch.name
        is_open = self._evidence.is_open()
        journal = self._site.context.journals.read(batch)
        if not is_open and (journal is None or journal.has_ended):
            return ""
        if is_open and client.exit_code == 0:
            self._problems.append("exit code 0, but the batch is still open in the bucket")
        verb = "attach" if is_open else "cleanup"
        more = ("--results", str(self._results)) if is_open else ("--yes",)
        second = self._site.invoke(verb, "--batch", batch, "--json", *more)
        if second.exit_code != 0:
            self._problems.append(f"invoke {verb} ended with {second.exit_code}: {second.last_output()[-1500:]}")
        return verb

    def _check_results(self, finished: Mapping[str, int], *, is_whole: bool) -> None:
        downloaded = self._evidence.downloaded()
        self._problems += self._batch.problems_with_results(self._results)
        for job, attempt in finished.items():
            if job not in downloaded:
                self._problems.append(f"{job} had finished, but its results are lost")
            elif downloaded[job] != attempt:
                self._problems.append(f"{job} had finished in attempt {attempt}, but was run again")
        if is_whole and (missing := set(self._batch.jobs) - set(downloaded)):
            self._problems.append(f"the batch has ended without {', '.join(sorted(missing))}")
        self._check_journal()

    def _check_journal(self) -> None:
        """Check that the journal recorded every VM before it was created, and the end."""
        journal = self._site.context.journals.read(self._batch.name)
        if journal is not None and not journal.has_ended:
            self._problems.append("its journal has not ended")
        intended: set[str] = set()
        for record in read_records(self._evidence.journal):
            if record.kind == "intend":
                intended.add(record.text("name"))
            elif record.kind == "created" and record.text("name") not in intended:
                self._problems.append(f"its journal has no intent of {record.text('name')} before its creation")


def _is_about_vm(record: Record) -> bool:
    return record.text("kind") == "instance"
