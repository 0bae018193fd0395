"""The controller of a batch: reads what threads report, decides, acts. One thread owns the state, so there are no races.

At any moment a VM may be lost, a job may end, results may be downloaded, the engine may refuse. The results of all jobs of a lost
VM are searched for first, see ``rescue``; a job waits again only if none are found. No finished job is run twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from runner.batch.boot_failures import BootFailures
from runner.batch.connections import Connections
from runner.batch.deadlines import JobDeadlines
from runner.batch.fleet import Fleet
from runner.batch.job_thread import Assignment
from runner.batch.messages import (
    DeadlinesMoved,
    Inbox,
    JobDone,
    JobTrouble,
    LeaseGone,
    LeaseLost,
    Message,
    ResultsDownloaded,
    ResultsLost,
    SolverEnded,
    ThreadFailed,
    VMDown,
    VMGone,
    VMReady,
    VMsCreated,
    VMsRefused,
)
from runner.batch.outcome import read_outcome
from runner.batch.rescue import Rescue
from runner.batch.stack import VMWish
from runner.batch.summary import JobOutcome
from runner.context import JournalContext
from runner.errors import NotFoundError, RemoteError
from runner.google import Instance
from runner.hardware import JobStatus
from runner.jobsfile import JobInputs
from runner.lease import LeaseCheck, taken_over
from runner.model import names
from runner.model.catalog import MACHINE_TYPES
from runner.model.events import DeadlineMoved, InstanceLost, InstanceReady, InstancesCreated, JobStarted, JobWaiting
from runner.model.plan import Plan
from runner.model.roster import JobEntry, Roster, VMEntry, VMState
from runner.model.states import JobState
from runner.results import Collector, DownloadedSet

_log = logging.getLogger(__name__)

JUST_NOW_S = 0.5  # hundreds of jobs that begin at once need not look at the lease one by one
NEVER_STARTED = frozenset({JobStatus.PENDING_SUBMIT, JobStatus.FAILED_SUBMIT})
DOWNLOADED_LATE = "an earlier attempt, whose results were downloaded late"


class Controller:
    """Runs the jobs of a batch on its fleet. Use it in one thread: all others report to ``inbox``. ``check``: the check of the lease."""

    def __init__(
        self,
        *,
        context: JournalContext,
        plan: Plan,
        inputs: Sequence[JobInputs],
        collector: Collector,
        fleet: Fleet,
        inbox: Inbox,
        check: LeaseCheck,
    ) -> None:
        self._context = context
        self._plan = plan
        self._inputs = {item.job.name: item for item in inputs}
        self._collector = collector
        self._fleet = fleet
        self._inbox = inbox
        self._check = check
        self._connections = Connections(context=context, batch=plan.batch, collector=collector, report=inbox.add)
        self._outcomes: dict[str, JobOutcome] = {}
        self._next_index = 0
        self._closed = threading.Event()
        self._failures = BootFailures()
        self._leaving: set[str] = set()  # lost VMs, some of whose jobs are still searched for
        self._deadlines = JobDeadlines(plan.batch, context.listener, monotonic=context.monotonic)
        self.roster = Roster(
            [(item.job.name, item.job.np) for item in inputs], fallback_to_standard=plan.fallback == "standard"
        )

    def run(self, *, until_busy: bool = False) -> bool:
        """Run the jobs until every one has ended (True), or until the batch can run on without this client (False).

        ``until_busy``: only until every VM has as much to do as it can take.

        Raises:
            WatchedError: another client has the batch now. Nothing of it may be touched from now on.
            HpcError: no VM could be created at all.
            BaseException: a defect in one of the threads.
        """
        self._connections.threads.start(partial(self._deadlines.run, self._closed), name="deadlines")
        self._start_jobs()
        self._request_vms()
        while not self.roster.is_over:
            if until_busy and self.roster.is_settled:
                return False
            self._handle(self._inbox.next())
            self._start_jobs()
            self._request_vms()
        return True

    def set_aside(self, outcome: JobOutcome) -> None:
        """Record how a job ended before this client came: it is not run again. Do nothing if it no longer waits."""
        if self.roster.job(outcome.name).state is not JobState.WAITING:
            return
        self.roster.restore(outcome.name, outcome.state)
        self._outcomes[outcome.name] = outcome

    def note_attempt(self, job: str, attempt: int) -> None:
        """Record an attempt that was started before this client came."""
        if job in self._inputs:
            self.roster.note_attempt(job, attempt)

    def expect_vms(self, instances: Sequence[Instance], *, names_used: Iterable[str]) -> None:
        """Expect existing VMs. No new VM gets a name that was used before: records about the old one would be taken for records about it."""
        for name in names_used:
            index = name.rpartition("-")[2]
            self._next_index = max(self._next_index, int(index) + 1 if index.isdecimal() else 0)
        for instance in instances:
            vm = MACHINE_TYPES.get(instance.machine_type, self._plan.machine)
            self.roster.add_vm(VMEntry(name=instance.name, cores=vm.cores, provisioning=instance.provisioning))

    def learn_jobs(self) -> None:
        """Learn from each of these VMs what jobs it has, before anything new is started. Those that do not answer are deleted."""
        while self.roster.has(VMState.COMING):
            self._handle(self._inbox.next())
        found = {name: self._attempts_on(name) for name in self._connections.vms}
        newest: dict[str, tuple[int, str]] = {}
        for vm, attempts in found.items():
            for job, attempt in attempts:
                newest[job] = max(newest.get(job, (0, "")), (attempt, vm))
        for name, (attempt, vm) in sorted(newest.items()):
            if not self.roster.job(name).state.has_ended:
                self._adopt(name, attempt, vm)
        for vm, attempts in found.items():
            running = [attempt for attempt, status in attempts.items() if status is JobStatus.RUNNING]
            self._connections.stop(vm, [attempt for attempt in running if not self.roster.is_current(*attempt)])
        while self._leaving:
            self._handle(self._inbox.next())

    def _adopt(self, name: str, attempt: int, vm: str) -> None:
        self.roster.adopt(name, vm=vm, attempt=attempt)
        self._context.listener.report(JobStarted(job=name, instance=vm, attempt=attempt, adopted=True))
        assignment = Assignment(inputs=self._inputs[name], attempt=attempt, vm=vm, is_there=True)
        self._connections.follow(assignment, check=self._check)

    def _attempts_on(self, vm: str) -> Mapping[tuple[str, int], JobStatus]:
        """Return the attempts that were started on a VM. Their numbers, and those of others that were submitted there, count as used.

        Return none if it no longer answers: then it is lost.
        """
        try:
            statuses = self._connections.statuses(vm)
        except RemoteError as error:
            self._vm_down(VMDown(name=vm, witness="ssh", reason=str(error)))
            return {}
        for attempt in statuses:
            self.note_attempt(*attempt)
        return {
            attempt: status
            for attempt, status in statuses.items()
            if attempt[0] in self._inputs and status not in NEVER_STARTED
        }

    def outcomes(self) -> list[JobOutcome]:
        """Return what is known of each job, in the order of the jobs file."""
        return [self._outcomes.get(job.name) or JobOutcome(name=job.name, state=job.state) for job in self.roster.jobs]

    def close(self) -> None:
        """Close the connections, and wait until the threads that use them have ended. Jobs on the VMs keep running."""
        self._closed.set()
        self._connections.close()
        for message in self._inbox.rest():  # nobody will read them
            if isinstance(message, VMReady):
                message.interface.close()

    def _handle(self, message: Message) -> None:
        _log.debug("message: %s", message)
        match message:
            case VMReady():
                self._vm_ready(message)
            case VMDown():
                self._vm_down(message)
            case VMGone():
                self._leaving.discard(message.name)
                self._fleet.abandon(message.name)
            case VMsCreated():
                self._context.listener.report(
                    InstancesCreated(names=tuple(instance.name for instance in message.instances))
                )
            case VMsRefused():
                self._refused(message)
            case SolverEnded():
                self._deadlines.end(message.job, message.attempt)
                self.roster.solver_ended(message.job, message.attempt)
            case JobDone():
                self._job_done(message)
            case JobTrouble():
                self._job_trouble(message)
            case ResultsLost():
                self._results_lost(message)
            case ResultsDownloaded():
                self._results_downloaded(message.results)
            case DeadlinesMoved():
                self._move_deadlines(message)
            case LeaseLost():
                raise taken_over(self._plan.batch, message.holder)
            case LeaseGone():
                raise NotFoundError(
                    f"the lease of batch {self._plan.batch} was removed from the bucket; the batch has been ended"
                )
            case ThreadFailed():
                raise message.error

    def _request_vms(self) -> None:
        """Request the VMs that waiting jobs need."""
        cores = self._plan.machine.cores
        count = self.roster.new_vms_wanted(most=self._plan.max_vms, cores=cores)
        provisioning = self.roster.provisioning_of_next(self._plan.provisioning)
        wishes = [self._next_wish(provisioning) for _ in range(count)]
        for wish in wishes:
            self.roster.add_vm(VMEntry(name=wish.name, cores=cores, provisioning=wish.provisioning))
        if wishes:
            self._fleet.request(wishes)

    def _next_wish(self, provisioning: str) -> VMWish:
        name = names.instance_name(self._plan.batch, self._next_index)
        self._next_index += 1
        return VMWish(name=name, zone=self._plan.zone, machine_type=self._plan.machine.name, provisioning=provisioning)

    def _start_jobs(self) -> None:
        for start in self.roster.next_starts():
            self._context.listener.report(JobStarted(job=start.job, instance=start.vm, attempt=start.attempt))
            self._context.journal.record(
                "job", job=start.job, state="running", attempt=start.attempt, instance=start.vm
            )
            assignment = Assignment(inputs=self._inputs[start.job], attempt=start.attempt, vm=start.vm, is_there=False)
            self._deadlines.begin(start.job, start.attempt, assignment.inputs.job.timeout_s)
            self._connections.follow(assignment, check=partial(self._check, within_s=JUST_NOW_S))

    def _vm_ready(self, message: VMReady) -> None:
        name = message.instance.name
        if self._closed.is_set() or self.roster.is_lost(name):
            message.interface.close()
            return
        self._connections.add(name, message.interface)
        self._failures.clear()
        self.roster.vm_ready(name)
        self._context.listener.report(InstanceReady(name=name, address=message.instance.address))

    def _vm_down(self, message: VMDown) -> None:
        if self.roster.is_lost(message.name):
            return
        if self.roster.is_coming(message.name):
            self._failures.note(message, most_vms=self._plan.max_vms)
        facts = {"name": message.name, "witness": message.witness, "reason": message.reason}
        self._context.journal.record("lost", kind="instance", **facts)
        in_doubt = self.roster.vm_lost(message.name)
        # A VM that the cloud takes back is gone long before an update gets to its deletions.
        owes = message.witness == "ssh" and any(job.frees_cores for job in in_doubt)
        self._fleet.forget(message.name, owes=owes)
        self._context.listener.report(InstanceLost(**facts, jobs=tuple(job.name for job in in_doubt)))
        for job in in_doubt:
            self._deadlines.end(job.name, job.attempt)
        self._leaving.add(message.name)
        self._connections.threads.start(self._rescue(message.name, in_doubt).run, name=f"rescue {message.name}")

    def _rescue(self, vm: str, in_doubt: Sequence[JobEntry]) -> Rescue:
        return Rescue(
            context=self._context,
            batch=self._plan.batch,
            vm=vm,
            jobs=in_doubt,
            expectations={job.name: self._inputs[job.name].job.expect for job in in_doubt},
            collector=self._collector,
            live_logs=self._connections.live_logs,
            check=self._check,
            note_ended=partial(self._fleet.note_ended, vm),
            disconnect=self._connections.let_go(vm, [(job.name, job.attempt) for job in in_doubt]),
            report=self._inbox.add,
            closed=self._closed,
        )

    def _move_deadlines(self, message: DeadlinesMoved) -> None:
        """Move the deadlines of jobs that run; jobs that start later get the new one from the start."""
        for name, seconds in message.deadlines.items():
            if name in self._inputs and self._inputs[name].job.timeout_s != seconds:
                inputs = self._inputs[name]
                self._inputs[name] = replace(inputs, job=replace(inputs.job, timeout_s=seconds))
                self._deadlines.move(name, seconds)
                self._context.listener.report(DeadlineMoved(job=name, timeout_s=seconds))
                job = self.roster.job(name)
                if job.state is JobState.RUNNING:
                    self._connections.extend(job.vm, (name, job.attempt), seconds)

    def _refused(self, message: VMsRefused) -> None:
        for name in message.names:
            if name in self._connections.vms:  # it had answered before it was missing
                self._vm_down(VMDown(name=name, witness="cloud", reason=str(message.error)))
            self.roster.vm_lost(name)
            if name not in self._leaving:  # else its rescue deletes it
                self._fleet.abandon(name)
        alive = [vm for vm in self.roster.vms if vm.state is not VMState.LOST]
        if not alive:
            raise message.error
        self._plan = self._plan.with_most(len(alive))
        self._context.warn(f"continuing with {len(alive)} VMs: {message.error}")

    def _job_done(self, message: JobDone) -> None:
        self._deadlines.end(message.outcome.name, message.attempt)
        if self.roster.is_current(message.outcome.name, message.attempt):
            self._end_job(message.outcome, message.attempt)

    def _end_job(self, outcome: JobOutcome, attempt: int) -> None:
        self.roster.end(outcome.name, outcome.state)
        self._note_end(outcome, attempt)

    def _note_end(self, outcome: JobOutcome, attempt: int) -> None:
        self._outcomes[outcome.name] = outcome
        event = outcome.as_event(attempt)
        self._context.listener.report(event)
        self._context.journal.record("job", **event.as_json())

    def _results_lost(self, message: ResultsLost) -> None:
        if not self.roster.give_back(message.job, message.attempt):
            return
        if self.roster.job(message.job).state is JobState.LOST:
            reason = f"given up: {message.attempt} VMs were lost while it ran"
            self._note_end(JobOutcome(name=message.job, state=JobState.LOST, message=reason), message.attempt)
        else:
            self._context.listener.report(JobWaiting(job=message.job, reason="its results were lost with its VM"))

    def _results_downloaded(self, results: DownloadedSet) -> None:
        """End a waiting or restarted job when the results of any of its attempts are downloaded; the verdict is that attempt's.

        The attempt that counts has a thread of its own, or its VM was lost, and then the rescue looks for it.
        """
        job = self.roster.job(results.job) if results.job in self._inputs else None
        if job is None or job.state.has_ended or self.roster.is_current(results.job, results.attempt):
            return
        expect = self._inputs[results.job].job.expect
        self._connections.live_logs.show_rest(results)
        self._end_job(
            read_outcome(results.folder, name=results.job, expect=expect, note=DOWNLOADED_LATE), results.attempt
        )
        if job.state is JobState.RUNNING:
            self._deadlines.end(job.name, job.attempt)
            self._connections.stop(job.vm, [(job.name, job.attempt)])

    def _job_trouble(self, message: JobTrouble) -> None:
        """Handle an error of a job's thread: a remote error means that the VM no longer answers, anything else ends the job."""
        if not self.roster.is_current(message.job, message.attempt):
            return
        if isinstance(message.error, RemoteError):
            self._vm_down(VMDown(name=message.vm, witness="ssh", reason=str(message.error)))
            return
        outcome = JobOutcome(name=message.job, state=JobState.LOST, instance=message.vm, message=str(message.error))
        self._job_done(JobDone(attempt=message.attempt, outcome=outcome))
