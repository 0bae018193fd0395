"""Events of a batch: its plan, its VMs, its jobs, and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from runner.model.events.event import Event, Lines, Span, one_line
from runner.model.states import JobState

JobName = Annotated[str, "name of the job"]
AttemptNumber = Annotated[int, "counts from 1"]
VMName = Annotated[str, "name of the VM"]

STATE_STYLES = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.TIMED_OUT: "red",
    JobState.LOST: "bold red",
    JobState.UNKNOWN: "yellow",
}


@dataclass(frozen=True, kw_only=True)
class PlanMade(Event):
    """What is about to run, and what it may cost; a question follows."""

    kind: ClassVar[str] = "plan"
    batch: Annotated[str, "name of the batch"]
    target: Annotated[str, "`local` or `google`"]
    jobs: Annotated[int, "number of jobs"]
    instances: Annotated[tuple[str, ...], "names of the VMs to begin with"]
    machine_type: Annotated[str, "Google's machine type of each VM"]
    cores: Annotated[int, "physical cores of each VM"]
    provisioning: Annotated[str, "`spot` or `standard`"]
    zone: Annotated[str, "the zone that is tried first"]
    max_run_s: Annotated[float, "after this many s the cloud deletes each VM"]
    upload_bytes: Annotated[int, "size of all input files, in bytes"]
    price_usd_per_hour: Annotated[float, "list price on demand of all VMs, in USD an hour; 0 in the embedded cloud"]
    ceiling_usd: Annotated[float, "what the batch costs at most, in USD"]
    results: Annotated[str, "the folder of the results"]

    def as_text(self) -> Lines:
        """Return what runs where, and what it costs at most."""
        count = len(self.instances)
        cost = (
            f"at most {self.ceiling_usd:.2f} USD ({self.price_usd_per_hour:.2f} USD an hour, list price on demand)"
            if self.price_usd_per_hour
            else "nothing: the embedded cloud runs on this computer"
        )
        return (
            *one_line(f"batch {self.batch}: {self.jobs} jobs on {self.target}", "bold"),
            *one_line(
                f"  {count} {self.provisioning} VM{'s' * (count != 1)} {self.machine_type} ({self.cores} cores each) in {self.zone}, "
                f"each deleted by the cloud after {self.max_run_s / 60:.0f} min at the latest"
            ),
            *one_line(f"  cost: {cost}; results: {self.results}"),
        )


@dataclass(frozen=True, kw_only=True)
class BatchRenamed(Event):
    """Another command has taken the name of this batch in the meantime, so this batch gets a new one."""

    kind: ClassVar[str] = "renamed"
    planned: Annotated[str, "the name in the plan"]
    batch: Annotated[str, "the name of the batch from here on"]

    def as_text(self) -> Lines:
        """Return a warning."""
        message = f"another command has just started {self.planned}; this batch is named {self.batch}"
        return ((Span("warning: ", "yellow"), Span(message)),)


@dataclass(frozen=True, kw_only=True)
class InstancesCreated(Event):
    """The cloud has created VMs of the batch; they are booting."""

    kind: ClassVar[str] = "vms"
    names: Annotated[tuple[str, ...], "names of the VMs"]


@dataclass(frozen=True, kw_only=True)
class InstanceReady(Event):
    """A VM is ready for jobs."""

    kind: ClassVar[str] = "instance"
    name: VMName
    state: Annotated[Literal["ready"], "always this"] = field(default="ready", init=False)
    address: Annotated[str, "its address"]

    def as_text(self) -> Lines:
        """Return a quiet line."""
        return one_line(f"   {self.name} is ready at {self.address}", "dim")


@dataclass(frozen=True, kw_only=True)
class InstanceLost(Event):
    """A VM is gone: the cloud preempted or deleted it, or it does not answer any more."""

    kind: ClassVar[str] = "instance"
    name: VMName
    witness: Annotated[str, "who noticed: `cloud` or `ssh`"]
    reason: Annotated[str, "what was noticed"]
    state: Annotated[Literal["lost"], "always this"] = field(default="lost", init=False)
    jobs: Annotated[tuple[str, ...], "jobs that were running there; the client now looks for their results"]

    def as_text(self) -> Lines:
        """Return why, and the jobs whose results are being looked for."""
        jobs = f"; looking for the results of {', '.join(self.jobs)}" if self.jobs else ""
        return one_line(f"✗ {self.name} is lost: {self.reason}{jobs}", "yellow")


@dataclass(frozen=True, kw_only=True)
class JobStarted(Event):
    """An attempt of a job has started."""

    kind: ClassVar[str] = "job"
    job: JobName
    state: Annotated[Literal["running"], "always this"] = field(default="running", init=False)
    instance: VMName
    attempt: AttemptNumber
    adopted: Annotated[bool, "true: it was already running when this client attached"] = False

    def as_text(self) -> Lines:
        """Return a quiet line."""
        return one_line(f"▶ {self.job} on {self.instance}", "dim")


@dataclass(frozen=True, kw_only=True)
class JobWaiting(Event):
    """A job has to run again."""

    kind: ClassVar[str] = "job"
    job: JobName
    state: Annotated[Literal["waiting"], "always this"] = field(default="waiting", init=False)
    reason: Annotated[str, "why"]

    def as_text(self) -> Lines:
        """Return why."""
        return one_line(f"  {self.job} is queued again: {self.reason}", "yellow")


@dataclass(frozen=True, kw_only=True)
class JobEnded(Event):
    """A job has ended, with this verdict."""

    kind: ClassVar[str] = "job"
    job: JobName
    state: Annotated[JobState, "the verdict"]
    exit_code: Annotated[int | None, "that of the script; null: not known"]
    signal: Annotated[int | None, "the signal that is known to have killed it, else null"]
    wall_s: Annotated[float | None, "how long it ran, in s"]
    core_s: Annotated[float | None, "core time that it used, in s"]
    instance: Annotated[str, "name of the VM; may be empty"]
    results: Annotated[str | None, "the folder of its results on this computer; null: none"]
    message: Annotated[str, "why it did not succeed; else empty"]
    attempt: Annotated[int, "the attempt that counts, from 1"]

    def as_text(self) -> Lines:
        """Return the verdict."""
        return ((Span("■ "), Span(f"{self.job} {self.state.value}", STATE_STYLES.get(self.state, ""))),)


@dataclass(frozen=True, kw_only=True)
class DeadlineMoved(Event):
    """`invoke extend` gave a job another deadline."""

    kind: ClassVar[str] = "deadline"
    job: JobName
    timeout_s: Annotated[float, "its deadline, in s after its start"]


@dataclass(frozen=True, kw_only=True)
class BatchDetached(Event):
    """The client leaves the batch, which continues without it."""

    kind: ClassVar[str] = "detached"
    batch: Annotated[str, "name of the batch"]


@dataclass(frozen=True, kw_only=True)
class ResultsDownloaded(Event):
    """The results of an attempt are downloaded and verified."""

    kind: ClassVar[str] = "results"
    job: JobName
    attempt: AttemptNumber
    state: Annotated[Literal["downloaded"], "always this"] = field(default="downloaded", init=False)
    files: Annotated[int, "number of files"]
    bytes: Annotated[int, "their size, in bytes"]
    folder: Annotated[str, "where they are"]


@dataclass(frozen=True, kw_only=True)
class ResultsAskedAgain(Event):
    """The results of an attempt arrived corrupt; its VM is asked to push them again."""

    kind: ClassVar[str] = "results"
    job: JobName
    attempt: AttemptNumber
    state: Annotated[Literal["asked again"], "always this"] = field(default="asked again", init=False)
    push: Annotated[int, "number of the push, from 1"]


@dataclass(frozen=True, kw_only=True)
class ResultsCorrupt(Event):
    """The results of an attempt arrived corrupt. They stay in the bucket."""

    kind: ClassVar[str] = "results"
    job: JobName
    attempt: AttemptNumber
    state: Annotated[Literal["corrupt"], "always this"] = field(default="corrupt", init=False)
    prefix: Annotated[str, "where they are in the bucket"]
    message: Annotated[str, "what is wrong with them"]

    def as_text(self) -> Lines:
        """Return what is wrong."""
        return one_line(f"results {self.prefix} {self.state}: {self.message}", "yellow")


@dataclass(frozen=True, kw_only=True)
class ResultsUnfinished(Event):
    """A push of results was never finished."""

    kind: ClassVar[str] = "results"
    state: Annotated[Literal["unfinished"], "always this"] = field(default="unfinished", init=False)
    prefix: Annotated[str, "where it is in the bucket"]
    message: Annotated[str, "what happens to it"]

    def as_text(self) -> Lines:
        """Return what happens to it."""
        return one_line(f"results {self.prefix} {self.state}: {self.message}", "yellow")


@dataclass(frozen=True, kw_only=True)
class DownloadsPaused(Event):
    """This computer's disk has no room for more results. They stay in the bucket."""

    kind: ClassVar[str] = "results"
    state: Annotated[Literal["paused"], "always this"] = field(default="paused", init=False)
    message: Annotated[str, "the error of the disk"]
    remedy: Annotated[str, "what to do about it"]

    def as_text(self) -> Lines:
        """Return why, and what to do."""
        return one_line(f"downloads paused: {self.message}; {self.remedy}", "bold red")


@dataclass(frozen=True, kw_only=True)
class ResultsTooBig(Event):
    """The results of one attempt need more room than this computer's disk has. They stay in the bucket; others are still downloaded."""

    kind: ClassVar[str] = "results"
    state: Annotated[Literal["too big"], "always this"] = field(default="too big", init=False)
    message: Annotated[str, "how much there is, and how much is needed"]
    remedy: Annotated[str, "what to do about it"]
    job: JobName
    attempt: AttemptNumber
    prefix: Annotated[str, "where they are in the bucket"]

    def as_text(self) -> Lines:
        """Return why, and what to do."""
        text = f"download of the results of {self.job} paused: {self.message}; {self.remedy}"
        return one_line(text, "bold red")


@dataclass(frozen=True, kw_only=True)
class DownloadsResumed(Event):
    """This computer's disk has room for results again."""

    kind: ClassVar[str] = "results"
    state: Annotated[Literal["resumed"], "always this"] = field(default="resumed", init=False)

    def as_text(self) -> Lines:
        """Return that downloads have resumed."""
        return one_line("there is room again; downloads resumed")
