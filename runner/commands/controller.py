"""The controller of a batch: hears what its threads tell, decides, acts. One thread owns the state, so nothing races.

What may happen at any moment: a machine is lost, a job ends, results come home, the engine refuses. Jobs of a lost machine wait
again; those that had ended there are looked for in the bucket first. No finished job is run twice.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from runner.commands.collect import Collector
from runner.commands.context import Context
from runner.commands.deadlines import JobDeadlines
from runner.commands.events import Listener
from runner.commands.fleet import Fleet, MachineWish
from runner.commands.jobs import Assignment, JobThread
from runner.commands.live_logs import LiveLogs
from runner.commands.messages import (
    DeadlinesMoved,
    JobDone,
    JobTrouble,
    LeaseGone,
    LeaseLost,
    MachineDown,
    MachineReady,
    MachinesMade,
    MachinesRefused,
    Message,
    ResultsLost,
    SolverEnded,
    ThreadFailed,
)
from runner.commands.outcome import read_outcome
from runner.commands.preflight import JobInputs
from runner.commands.summary import JobOutcome
from runner.core.compute import Instance
from runner.core.session_state import SessionState
from runner.errors import CloudError, ConflictError, DiskError, HpcError, NotFoundError, RemoteError
from runner.hardware import JobStatus
from runner.hardware.opensees import OpenSeesInterface
from runner.model import names
from runner.model.catalog import MACHINE_TYPES
from runner.model.plan import Plan
from runner.model.roster import MachineEntry, MachineState, Roster
from runner.model.states import JobState

_log = logging.getLogger(__name__)

RESCUE_LIMIT_S = 120.0  # a machine that was told to go has 30 s, and a minute more until the cloud says that it is gone
RESCUE_LOOK_S = 2.0
THREAD_END_LIMIT_S = 5.0
MOST_BOOT_FAILURES = 5  # in a row: then the image or the network is at fault, and more VMs cost money for nothing
NEVER_STARTED = frozenset({JobStatus.PENDING_SUBMIT, JobStatus.FAILED_SUBMIT})
RESCUE_LOOK_LIMIT_S = 30.0  # for the collector to look into the bucket, once the VM cannot push any more


class TakenOverError(ConflictError):
    """Another client has the lease of the batch now. Nothing of the batch may be touched any more."""


class Controller:
    """Runs the jobs of a batch on its fleet. ``tell`` is the only method for other threads."""

    def __init__(
        self,
        *,
        context: Context,
        plan: Plan,
        inputs: Sequence[JobInputs],
        collector: Collector,
        session: SessionState,
        listener: Listener,
    ) -> None:
        self._context = context
        self._plan = plan
        self._inputs = {item.job.name: item for item in inputs}
        self._collector = collector
        self._session = session
        self._listener = listener
        self._live_logs = LiveLogs(context.results_folder / plan.batch, listener)
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._interfaces: dict[str, OpenSeesInterface] = {}
        self._outcomes: dict[str, JobOutcome] = {}
        self._next_index = 0
        self._closed = threading.Event()
        self._boot_failures = 0
        self._threads: list[threading.Thread] = []
        self._deadlines = JobDeadlines(plan.batch, listener, monotonic=context.monotonic)
        self.roster = Roster(
            [(item.job.name, item.job.np) for item in inputs], fallback_to_standard=plan.fallback == "standard"
        )

    def tell(self, message: Message) -> None:
        """A fact, from any thread."""
        self._messages.put(message)

    def run(self, fleet: Fleet, *, until_busy: bool = False) -> bool:
        """Drive the batch until every job has ended (False), or until it can go on without us (True).

        ``until_busy``: only until every VM has as much to do as it can take.

        Raises:
            HpcError: no machine could be had at all.
            BaseException: a defect in one of the threads.
        """
        self._start(partial(self._deadlines.run, self._closed), name="deadlines")
        self._start_jobs()
        self._grow(fleet)
        while not self.roster.is_over:
            if until_busy and self.roster.is_settled:
                return True
            self._hear(self._messages.get(), fleet)
            self._start_jobs()
            self._grow(fleet)
        return False

    def set_aside(self, outcome: JobOutcome) -> None:
        """A job that ended before this client came, and is not to be run, whatever became of it."""
        self.roster.restore(outcome.name, outcome.state)
        self._outcomes[outcome.name] = outcome

    def note_attempt(self, job: str, attempt: int) -> None:
        """An attempt that was made before this client came."""
        if job in self._inputs:
            self.roster.note_attempt(job, attempt)

    def expect_machines(self, instances: Sequence[Instance], *, names_used: Iterable[str]) -> None:
        """Machines that are there already. No new one gets a name that was used: what was said of the old one is not true of it."""
        for name in names_used:
            index = name.rpartition("-")[2]
            self._next_index = max(self._next_index, int(index) + 1 if index.isdecimal() else 0)
        for instance in instances:
            machine = MACHINE_TYPES.get(instance.machine_type, self._plan.machine)
            self.roster.add_machine(
                MachineEntry(name=instance.name, cores=machine.cores, provisioning=instance.provisioning)
            )

    def hear_machines(self, fleet: Fleet) -> None:
        """Hear of each of these machines what jobs it has, before anything new is started."""
        while any(machine.state is MachineState.COMING for machine in self.roster.machines):
            self._hear(self._messages.get(), fleet)
        found: dict[str, tuple[int, str]] = {}
        for machine, statuses in [(name, self._statuses_on(name, fleet)) for name in list(self._interfaces)]:
            for folder, status in statuses.items():
                job = names.read_attempt_folder(folder)
                if job is None or job[0] not in self._inputs:
                    continue
                self.note_attempt(*job)
                if status not in NEVER_STARTED and job[1] > found.get(job[0], (0, ""))[0]:
                    found[job[0]] = (job[1], machine)
        for name, (attempt, machine) in sorted(found.items()):
            if not self.roster.job(name).state.has_ended:
                self.roster.adopt(name, machine=machine, attempt=attempt)
                self._listener.tell("job", job=name, state="running", instance=machine, attempt=attempt, adopted=True)
                self._start_thread(
                    Assignment(inputs=self._inputs[name], attempt=attempt, machine=machine, is_there=True)
                )

    def _statuses_on(self, machine: str, fleet: Fleet) -> Mapping[str, JobStatus]:
        """The jobs that a machine has, by folder; none if it does not answer any more: then it is lost."""
        try:
            return self._interfaces[machine].get_job_statuses()
        except RemoteError as error:
            self._machine_down(MachineDown(name=machine, witness="ssh", reason=str(error)), fleet)
            return {}

    def outcomes(self) -> list[JobOutcome]:
        """What is known of each job, in the file's order."""
        return [self._outcomes.get(job.name) or _unfinished(job.name, job.state) for job in self.roster.jobs]

    def close(self) -> None:
        """Close the connections; threads that wait on them end, and are waited for. Jobs on the machines go on."""
        self._closed.set()
        self._live_logs.close()
        for interface in list(self._interfaces.values()):
            interface.close()
        self._interfaces.clear()
        give_up_at = self._context.monotonic() + THREAD_END_LIMIT_S
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - self._context.monotonic()))

    def _hear(self, message: Message, fleet: Fleet) -> None:
        _log.debug("heard: %s", message)
        match message:
            case MachineReady():
                self._machine_ready(message)
            case MachineDown():
                self._machine_down(message, fleet)
            case MachinesMade():
                self._listener.tell("machines", names=[instance.name for instance in message.instances])
            case MachinesRefused():
                self._refused(message, fleet)
            case SolverEnded():
                self._deadlines.end(message.job, message.attempt)
                self.roster.solver_ended(message.job, message.attempt)
            case JobDone():
                self._job_done(message)
            case JobTrouble():
                self._job_trouble(message, fleet)
            case ResultsLost():
                if self.roster.give_back(message.job, message.attempt):
                    self._listener.tell("job", job=message.job, state="waiting", reason="its results went with its VM")
            case DeadlinesMoved():
                self._move_deadlines(message)
            case LeaseLost():
                raise TakenOverError(f"{message.holder} goes on with batch {self._plan.batch}")
            case LeaseGone():
                raise NotFoundError(
                    f"the lease of batch {self._plan.batch} was removed from the bucket; the batch is ended"
                )
            case ThreadFailed():
                raise message.error

    def _grow(self, fleet: Fleet) -> None:
        """Ask for the machines that waiting jobs need."""
        cores = self._plan.machine.cores
        count = self.roster.new_machines_wanted(most=self._plan.max_vms, cores=cores)
        provisioning = self.roster.provisioning_of_next(self._plan.provisioning)
        wishes = [self._next_wish(provisioning) for _ in range(count)]
        for wish in wishes:
            self.roster.add_machine(MachineEntry(name=wish.name, cores=cores, provisioning=wish.provisioning))
        if wishes:
            fleet.ask_for(wishes)

    def _next_wish(self, provisioning: str) -> MachineWish:
        name = names.instance_name(self._plan.batch, self._next_index)
        self._next_index += 1
        return MachineWish(
            name=name, zone=self._plan.zone, machine_type=self._plan.machine.name, provisioning=provisioning
        )

    def _start_jobs(self) -> None:
        for start in self.roster.next_starts():
            self._listener.tell("job", job=start.job, state="running", instance=start.machine, attempt=start.attempt)
            self._session.record("job", job=start.job, state="running", attempt=start.attempt, instance=start.machine)
            assignment = Assignment(
                inputs=self._inputs[start.job], attempt=start.attempt, machine=start.machine, is_there=False
            )
            self._deadlines.begin(start.job, start.attempt, assignment.inputs.job.timeout_s)
            self._start_thread(assignment)

    def _start_thread(self, assignment: Assignment) -> None:
        work = JobThread(
            context=self._context,
            batch=self._plan.batch,
            assignment=assignment,
            interface=self._interfaces[assignment.machine],
            collector=self._collector,
            live_logs=self._live_logs,
            listener=self._listener,
            tell=self.tell,
        )
        self._start(work.run, name=f"job {assignment.name}")

    def _machine_ready(self, message: MachineReady) -> None:
        name = message.instance.name
        if self._closed.is_set() or self._is_lost(name):
            message.interface.close()
            return
        self._interfaces[name] = message.interface
        self._boot_failures = 0
        self.roster.machine_ready(name)
        self._listener.tell("instance", name=name, state="ready", address=message.instance.address)

    def _is_lost(self, name: str) -> bool:
        return any(machine.name == name and machine.state is MachineState.LOST for machine in self.roster.machines)

    def _machine_down(self, message: MachineDown, fleet: Fleet) -> None:
        if self._is_lost(message.name):
            return
        if message.witness == "boot":
            self._boot_failures += 1
            if self._boot_failures > MOST_BOOT_FAILURES:
                raise RemoteError(f"{self._boot_failures} VMs in a row did not come up; the last: {message.reason}")
        facts = {"name": message.name, "witness": message.witness, "reason": message.reason}
        self._session.record("lost", kind="instance", **facts)
        on_their_way = [job for job in self.roster.running_on(message.name) if job.frees_cores]
        requeued = self.roster.machine_lost(message.name)
        fleet.forget(message.name)
        self._listener.tell("instance", **facts, state="lost", requeued=[job.name for job in requeued])
        for job in requeued:
            self._deadlines.end(job.name, job.attempt)
            if job.state is JobState.LOST:
                reason = f"given up: {job.attempt} VMs were lost under it"
                self._outcomes[job.name] = JobOutcome(name=job.name, state=JobState.LOST, message=reason)
        interface = self._interfaces.pop(message.name, None)
        rescue = partial(self._rescue, message.name, [(job.name, job.attempt) for job in on_their_way], interface)
        self._start(rescue, name=f"rescue {message.name}")

    def _rescue(self, machine: str, jobs: Sequence[tuple[str, int]], interface: OpenSeesInterface | None) -> None:
        """Results of jobs that had ended on a machine that goes: it pushes them as its last act, or they are lost."""
        try:
            give_up_at = self._context.monotonic() + RESCUE_LIMIT_S
            while jobs and self._is_there(machine) and self._context.monotonic() < give_up_at:
                self._context.sleep(RESCUE_LOOK_S)
            for name, attempt in jobs:
                if not self._closed.is_set():
                    self._look_in_bucket(name, attempt, machine)
        finally:
            if interface is not None:
                interface.close()

    def _is_there(self, machine: str) -> bool:
        """Whether a machine can still push; as long as the cloud does not answer, it may."""
        labels: Mapping[str, str] = names.labels_of_batch(self._plan.batch)
        try:
            return any(instance.name == machine for instance in self._context.cloud.compute.instances(labels))
        except CloudError:
            return True

    def _look_in_bucket(self, job: str, attempt: int, machine: str) -> None:
        try:
            home = self._collector.wait_home(job, attempt, timeout_s=RESCUE_LOOK_LIMIT_S)
        except DiskError as error:
            self.tell(JobTrouble(job=job, attempt=attempt, machine=machine, error=error))
            return
        except HpcError:  # such as damage, which is told already: nobody is there to push them again
            home = None
        if home is None:
            self.tell(ResultsLost(job=job, attempt=attempt))
            return
        expect = self._inputs[job].job.expect
        note = "its VM was lost after it had ended; results from the bucket"
        outcome = read_outcome(home.folder, name=job, expect=expect, machine=machine, note=note)
        self.tell(JobDone(attempt=attempt, outcome=outcome))

    def _move_deadlines(self, message: DeadlinesMoved) -> None:
        """Let the machines know; jobs that start later get the new deadline at once."""
        for name, seconds in message.deadlines.items():
            if name in self._inputs and self._inputs[name].job.timeout_s != seconds:
                inputs = self._inputs[name]
                self._inputs[name] = replace(inputs, job=replace(inputs.job, timeout_s=seconds))
                self._deadlines.move(name, seconds)
                self._listener.tell("deadline", job=name, timeout_s=seconds)
                job = self.roster.job(name)
                interface = self._interfaces.get(job.machine)
                if job.state is JobState.RUNNING and interface is not None:
                    folder = names.attempt_folder(name, job.attempt)
                    self._start(partial(interface.extend_jobs, [folder], seconds), name=f"extend {name}")

    def _refused(self, message: MachinesRefused, fleet: Fleet) -> None:
        for name in message.names:
            if name in self._interfaces:  # it was there before it was missed
                self._machine_down(MachineDown(name=name, witness="cloud", reason=str(message.error)), fleet)
            self.roster.machine_lost(name)
            fleet.forget(name)
        alive = [machine for machine in self.roster.machines if machine.state is not MachineState.LOST]
        if not alive:
            raise message.error
        self._plan = self._plan.with_most(len(alive))
        self._listener.tell("warning", message=f"going on with {len(alive)} VMs: {message.error}")

    def _job_done(self, message: JobDone) -> None:
        name = message.outcome.name
        self._deadlines.end(name, message.attempt)
        if self.roster.is_current(name, message.attempt):
            self.roster.end(name, message.outcome.state)
            self._outcomes[name] = message.outcome
            facts = {k: v for k, v in message.outcome.as_json().items() if k not in ("name", "status")}
            self._listener.tell("job", job=name, state=message.outcome.state.value, attempt=message.attempt, **facts)
            self._session.record("job", job=name, state=message.outcome.state.value, attempt=message.attempt, **facts)

    def _job_trouble(self, message: JobTrouble, fleet: Fleet) -> None:
        """A remote error means that the machine does not answer any more; anything else is the job's own end."""
        if not self.roster.is_current(message.job, message.attempt):
            return
        if isinstance(message.error, RemoteError):
            self._machine_down(MachineDown(name=message.machine, witness="ssh", reason=str(message.error)), fleet)
            return
        outcome = JobOutcome(
            name=message.job, state=JobState.LOST, instance=message.machine, message=str(message.error)
        )
        self._job_done(JobDone(attempt=message.attempt, outcome=outcome))

    def _start(self, work: Callable[[], object], *, name: str) -> None:
        def run() -> None:
            try:
                work()
            except HpcError as error:
                self._listener.tell("warning", message=f"{name}: {error}")
            except BaseException as error:
                self.tell(ThreadFailed(error=error))

        thread = threading.Thread(target=run, daemon=True, name=name)
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()


def _unfinished(name: str, state: JobState) -> JobOutcome:
    return JobOutcome(
        name=name, state=state if state.has_ended else JobState.LOST, message="the batch ended before it did"
    )
