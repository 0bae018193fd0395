"""Which VM runs which job of a batch, and what to do next. Pure bookkeeping: the controller acts on it.

First come, first served: the job at the head of the queue waits for a VM with enough free cores, and the jobs behind it wait
too. A job whose VM was lost is in doubt: it may have ended there, and its results may have been pushed. Only when it is known
that they were not does it go back to the head of the queue for a new attempt; that does not count as a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from runner.model.states import TRANSITIONS, JobState

PREEMPTIONS_BEFORE_STANDARD = 2
TAIL_SHARE = 0.1  # of a batch's jobs: the last ones, which must not wait for spot VMs repeatedly
MOST_ATTEMPTS = 10  # of one job on VMs that are lost: after that, something else must be wrong


class VMState(Enum):
    """The state of a VM of a batch."""

    COMING = "coming"
    READY = "ready"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class JobEntry:
    """A job of a batch. ``attempt`` counts from 1 when it first starts; ``preemptions``: VMs lost under it."""

    name: str
    np: int
    state: JobState = JobState.WAITING
    attempt: int = 0
    preemptions: int = 0
    vm: str = ""
    frees_cores: bool = False


@dataclass(frozen=True, kw_only=True)
class VMEntry:
    """A VM of a batch."""

    name: str
    cores: int
    provisioning: str
    state: VMState = VMState.COMING


@dataclass(frozen=True, kw_only=True)
class Start:
    """A job to start now, and where."""

    job: str
    attempt: int
    vm: str


class Roster:
    """The state of a batch. Not thread-safe: one thread owns it.

    Raises (all changes): ValueError for a change that is not possible in the present state.
    """

    def __init__(self, jobs: Iterable[tuple[str, int]], *, fallback_to_standard: bool) -> None:
        self._jobs = {name: JobEntry(name=name, np=np) for name, np in jobs}
        self._queue = list(self._jobs)
        self._vms: dict[str, VMEntry] = {}
        self._fallback_to_standard = fallback_to_standard

    @property
    def jobs(self) -> list[JobEntry]:
        """All jobs, in the file's order."""
        return list(self._jobs.values())

    @property
    def vms(self) -> list[VMEntry]:
        """All VMs, including lost ones."""
        return list(self._vms.values())

    @property
    def is_over(self) -> bool:
        """Whether every job has ended."""
        return all(job.state.has_ended for job in self._jobs.values())

    @property
    def is_settled(self) -> bool:
        """Whether no job can be started now, no VM is still booting and no job is in doubt: the running jobs need no client."""
        return not (self.has(VMState.COMING) or self._in_doubt()) and not (
            self._queue and self._fitting(self._jobs[self._queue[0]].np)
        )

    def has(self, state: VMState) -> bool:
        """Return whether a VM is in this state."""
        return any(vm.state is state for vm in self._vms.values())

    def job(self, name: str) -> JobEntry:
        """Return one job."""
        return self._jobs[name]

    def add_vm(self, vm: VMEntry) -> None:
        """Add a VM that was requested."""
        self._vms[vm.name] = vm

    def vm_ready(self, name: str) -> None:
        """Note that a VM answers."""
        self._vms[name] = replace(self._vms[name], state=VMState.READY)

    def vm_lost(self, name: str) -> list[JobEntry]:
        """Note that a VM is gone or given up; return the jobs that ran there, which are in doubt now. Empty if it was already known to be lost.

        Call ``give_back`` or ``end`` for each of them when it is known whether its results were pushed.
        """
        vm = self._vms[name]
        if vm.state is VMState.LOST:
            return []
        self._vms[name] = replace(vm, state=VMState.LOST)
        for job in self.running_on(name):
            self._jobs[job.name] = replace(job, preemptions=job.preemptions + 1)
        return self.running_on(name)

    def is_lost(self, vm: str) -> bool:
        """Return whether a VM was lost."""
        return vm in self._vms and self._vms[vm].state is VMState.LOST

    def is_coming(self, vm: str) -> bool:
        """Return whether a VM was requested and has not answered yet."""
        return vm in self._vms and self._vms[vm].state is VMState.COMING

    def running_on(self, vm: str) -> list[JobEntry]:
        """Return the jobs on a VM that have not ended, including those whose results are still being pushed."""
        return [job for job in self._jobs.values() if job.vm == vm and job.state is JobState.RUNNING]

    def give_back(self, name: str, attempt: int) -> bool:
        """Queue a job in doubt again: its results were not pushed by its VM. Return False if this attempt is over."""
        if not self.is_current(name, attempt):
            return False
        self._requeue(self._jobs[name])
        return True

    def adopt(self, name: str, *, vm: str, attempt: int) -> None:
        """Note a job that was found on a VM, running, or ended without a verdict."""
        self._queue.remove(name)
        self._jobs[name] = replace(self._jobs[name], state=JobState.RUNNING, vm=vm, attempt=attempt)

    def restore(self, name: str, state: JobState) -> None:
        """Note a job that had ended before this roster was created."""
        self._queue.remove(name)
        self._jobs[name] = replace(self._jobs[name], state=state)

    def note_attempt(self, name: str, attempt: int) -> None:
        """Note an attempt from before this roster was created: its number, and those below, are used."""
        job = self._jobs[name]
        if job.state is JobState.WAITING:
            self._jobs[name] = replace(job, attempt=max(job.attempt, attempt))

    def next_starts(self) -> list[Start]:
        """Return the jobs to start now, each counted as running from here on."""
        starts: list[Start] = []
        while self._queue and (vm := self._fitting(self._jobs[self._queue[0]].np)):
            job = self._jobs[self._queue.pop(0)]
            started = replace(job, state=JobState.RUNNING, attempt=job.attempt + 1, vm=vm.name, frees_cores=False)
            self._jobs[job.name] = started
            starts.append(Start(job=job.name, attempt=started.attempt, vm=vm.name))
        return starts

    def solver_ended(self, name: str, attempt: int) -> None:
        """Free the cores of a job whose results are still being pushed. Do nothing if this attempt is over."""
        job = self._jobs[name]
        if job.attempt == attempt and job.state is JobState.RUNNING:
            self._jobs[name] = replace(job, frees_cores=True)

    def end(self, name: str, state: JobState) -> None:
        """Note that a job has ended for good."""
        job = self._jobs[name]
        if state not in TRANSITIONS[job.state]:
            raise ValueError(f"job {name} is {job.state.value}, it cannot become {state.value}")
        if name in self._queue:
            self._queue.remove(name)
        self._jobs[name] = replace(job, state=state)

    def is_current(self, name: str, attempt: int) -> bool:
        """Return whether this attempt is the current one; a late message about an earlier one is ignored."""
        job = self._jobs[name]
        return job.attempt == attempt and job.state is JobState.RUNNING

    def cores_missing(self) -> int:
        """Return how many cores waiting jobs need beyond what is free or coming; 0 if they only have to wait for others to end.

        Jobs in doubt count, except those that are known to have ended: creating a replacement takes longer than looking for their results.
        """
        alive = [vm for vm in self._vms.values() if vm.state is not VMState.LOST]
        waiting = sum(self._jobs[name].np for name in self._queue)
        waiting += sum(job.np for job in self._in_doubt() if not job.frees_cores)
        return max(0, waiting - sum(self._free_cores(vm) for vm in alive))

    def new_vms_wanted(self, *, most: int, cores: int) -> int:
        """Return how many VMs with this many cores each to request now, with at most ``most`` alive at once."""
        alive = sum(vm.state is not VMState.LOST for vm in self._vms.values())
        return max(0, min(most - alive, -(-self.cores_missing() // cores)))

    def provisioning_of_next(self, planned: str) -> str:
        """Return ``standard`` for a replacement if the batch allows it and a job was preempted twice, or only its last jobs are left."""
        if planned != "spot" or not self._fallback_to_standard:
            return planned
        open_jobs = [job for job in self._jobs.values() if not job.state.has_ended]
        in_tail = len(open_jobs) <= TAIL_SHARE * len(self._jobs) and any(job.preemptions for job in open_jobs)
        unlucky = any(job.preemptions >= PREEMPTIONS_BEFORE_STANDARD for job in open_jobs)
        return "standard" if unlucky or in_tail else planned

    def _in_doubt(self) -> list[JobEntry]:
        return [job for job in self._jobs.values() if job.state is JobState.RUNNING and self.is_lost(job.vm)]

    def _requeue(self, job: JobEntry) -> JobEntry:
        attempts_left = job.attempt < MOST_ATTEMPTS
        state = JobState.WAITING if attempts_left else JobState.LOST
        again = replace(job, state=state, vm="", frees_cores=False)
        self._jobs[job.name] = again
        if attempts_left:
            self._queue.insert(0, job.name)
        return again

    def _fitting(self, np: int) -> VMEntry | None:
        ready = (vm for vm in self._vms.values() if vm.state is VMState.READY)
        return next((vm for vm in ready if self._free_cores(vm) >= np), None)

    def _free_cores(self, vm: VMEntry) -> int:
        busy: Sequence[JobEntry] = [
            job
            for job in self._jobs.values()
            if job.vm == vm.name and job.state is JobState.RUNNING and not job.frees_cores
        ]
        return vm.cores - sum(job.np for job in busy)
