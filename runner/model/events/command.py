"""Events of any command: phases, warnings, errors, changes by the engine, cleanup, abandoned batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from runner.model.events.event import Event, Line, Lines, Span, one_line, split_lines

PHASE_TITLES = {
    "up": "creating VMs with pulumi up",
    "destroy": "pulumi destroy",
    "base": "bucket, service account and network",
    "image": "image",
    "jobs": "running jobs",
}


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(Event):
    """A phase of the command begins."""

    kind: ClassVar[str] = "phase"
    phase: Annotated[str, "name of the phase"]
    of: Annotated[str, "the VM or job that goes through it, where several do at once"] = ""
    state: Annotated[Literal["started"], "always this"] = field(default="started", init=False)

    def as_text(self) -> Lines | None:
        """Return a title for the phases that take long."""
        title = PHASE_TITLES.get(self.phase)
        return None if title is None else one_line(f"── {title}", "bold")


@dataclass(frozen=True, kw_only=True)
class PhaseEnded(Event):
    """A phase of the command is over."""

    kind: ClassVar[str] = "phase"
    phase: Annotated[str, "name of the phase"]
    of: Annotated[str, "the VM or job that went through it, where several do at once"] = ""
    state: Annotated[Literal["done", "failed"], "`failed`: an error ended it"]
    seconds: Annotated[float, "how long it took, in s"]


@dataclass(frozen=True, kw_only=True)
class StepStarted(Event):
    """A step begins that takes a while, but is not a phase."""

    kind: ClassVar[str] = "step"
    what: Annotated[str, "what it is, for people"]

    def as_text(self) -> Lines:
        """Return a quiet line."""
        return one_line(f"   {self.what}", "dim")


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """A warning for people. Programs do not need it: there are other kinds of events for them."""

    kind: ClassVar[str] = "warning"
    message: Annotated[str, "the warning, in one or more lines"]

    def as_text(self) -> Lines:
        """Return the warning, marked as one."""
        return split_lines(self.message, before=(Span("warning: ", "yellow"),))


@dataclass(frozen=True, kw_only=True)
class CommandFailed(Event):
    """An error ended the command."""

    kind: ClassVar[str] = "error"
    message: Annotated[str, "what went wrong"]
    remedy: Annotated[str, "what to do about it; may be empty"]
    exit_code: Annotated[int, "that of the command; see `docs/errors.md`"]
    notes: Annotated[tuple[str, ...], "what else went wrong in the meantime"]
    log: Annotated[str | None, "the file of the command's log, if it has one"]

    def as_text(self) -> Lines:
        """Return the error with its remedy and notes, and where the log is."""
        notes = [line for note in self.notes for line in split_lines(f"  {note}")]
        remedy: Lines = split_lines(self.remedy, before=(Span("remedy: ", "bold"),)) if self.remedy else ()
        log: Lines = () if self.log is None else one_line(f"log: {self.log}", "dim")
        return (*split_lines(self.message, before=(Span("error: ", "bold red"),)), *notes, *remedy, *log)


@dataclass(frozen=True, kw_only=True)
class ResourceChanged(Event):
    """The Pulumi engine changes, or has changed, a resource of a stack."""

    kind: ClassVar[str] = "stack"
    stack: Annotated[str, "name of the stack"]
    type: Annotated[str, "the resource's type, as Pulumi names it"]
    name: Annotated[str, "the resource's name"]
    op: Annotated[str, "what is done, as Pulumi names it: create, delete, same…; `unlock`: a stale lock was removed"]
    state: Annotated[Literal["started", "done", "failed"], "how far it is"]
    seconds: Annotated[float, "how long it took, in s; 0 while it continues"]
    message: Annotated[str, "why it failed, else empty"]

    def as_text(self) -> Lines | None:
        """Return a line for each change that is over."""
        if self.op == "unlock":
            return one_line(f"   {self.name}: {self.message}", "yellow")
        if self.state == "started" or self.op in ("same", "read"):
            return None
        took = f" ({self.seconds:.1f} s)" if self.state == "done" else f": {self.message}"
        return split_lines(f"   {self.op} {self.type} {self.name} {self.state}{took}", "dim")


@dataclass(frozen=True, kw_only=True)
class BakePlanned(Event):
    """An image is about to be baked, and what it may cost."""

    kind: ClassVar[str] = "bake"
    recipe: Annotated[str, "the recipe of the image"]
    machine_type: Annotated[str, "Google's machine type of the builder"]
    ceiling_usd: Annotated[float, "what it costs at most, in USD; 0 in the embedded cloud"]
    hours: Annotated[float, "how long it takes at most, in hours"]


@dataclass(frozen=True, kw_only=True)
class CleanupStarted(Event):
    """The command ended early; the resources that it created are being removed."""

    kind: ClassVar[str] = "cleanup"
    reason: Annotated[str, "what ended it"]

    def as_text(self) -> Lines:
        """Return a title."""
        return one_line(f"── cleaning up: {self.reason}", "bold yellow")


@dataclass(frozen=True, kw_only=True)
class UndoFailed(Event):
    """An action of the command could not be undone."""

    kind: ClassVar[str] = "undo"
    what: Annotated[str, "what was to be done, as in `delete the VM x`"]
    state: Annotated[Literal["failed"], "always this"] = field(default="failed", init=False)
    message: Annotated[str, "why it could not be done"]

    def as_text(self) -> Lines:
        """Return what could not be done."""
        return split_lines(f"could not {self.what}: {self.message}", "red")


@dataclass(frozen=True, kw_only=True)
class ItemFound(Event):
    """`invoke cleanup` found a resource, and reports whether it is going to remove it."""

    kind: ClassVar[str] = "found"
    what: Annotated[str, "kind, name and location"]
    state: Annotated[str, "its state, as the cloud names it; may be empty"]
    taken: Annotated[bool, "whether it is to be removed"]
    reason: Annotated[str, "why, or why not"]
    owner: Annotated[str, "its owner; empty if that is not known"]
    expires: Annotated[str, "its label `expires`, UTC; may be empty"]
    has_expired: Annotated[bool, "whether it has expired, whatever was asked for"]

    def as_text(self) -> Lines:
        """Return a line, marked if it is to be removed."""
        mark, style = ("-", "yellow") if self.taken else (" ", "dim")
        state = f" ({self.state})" if self.state else ""
        return one_line(f" {mark} {self.what}{state}: {self.reason}", style)


@dataclass(frozen=True, kw_only=True)
class ItemSwept(Event):
    """A resource was removed by its label or name, or could not be."""

    kind: ClassVar[str] = "sweep"
    what: Annotated[str, "kind, name and location"]
    state: Annotated[Literal["deleted", "failed"], "what happened to it"]
    message: Annotated[str, "the cloud's answer"]

    def as_text(self) -> Lines:
        """Return what happened to it."""
        return split_lines(
            f"   {self.what} {self.state}: {self.message}", "red" if self.state == "failed" else "yellow"
        )


@dataclass(frozen=True, kw_only=True)
class BakeCleanup(Event):
    """An abandoned bake is being cleaned up."""

    kind: ClassVar[str] = "bake_cleanup"
    name: Annotated[str, "name of the bake"]
    state: Annotated[Literal["started", "done"], "`done`: nothing of it is left"]

    def as_text(self) -> Lines:
        """Return how far the cleanup is."""
        what = "removing its resources" if self.state == "started" else "nothing of it is left"
        return one_line(f"bake {self.name} was abandoned: {what}", "yellow")


@dataclass(frozen=True, kw_only=True)
class AbandonedInstance:
    """A VM of an abandoned batch or bake."""

    name: Annotated[str, "its name"]
    zone: Annotated[str, "its zone"]
    status: Annotated[str, "its status, as Google names it"]
    machine_type: Annotated[str, "its machine type, as Google names it"]
    expired: Annotated[str, "why it counts as expired; else empty"]


@dataclass(frozen=True, kw_only=True)
class BatchAbandoned(Event):
    """An abandoned batch or bake: no client of this computer runs it. Found at the beginning of a command."""

    kind: ClassVar[str] = "abandoned"
    json_names: ClassVar[Mapping[str, str]] = {"batch_or_bake": "kind"}
    name: Annotated[str, "name of the batch or bake"]
    batch_or_bake: Annotated[str, "`run` or `bake`"]
    owner: Annotated[str, "the client that started it, as `user@host (process PID)`; empty if that is not known"]
    started: Annotated[str | None, "when it was started, ISO 8601, UTC"]
    is_detached: Annotated[bool, "whether its client detached on purpose"]
    is_from_here: Annotated[bool, "whether it was started on this computer, and its client is certainly gone"]
    watched_by: Annotated[str, "another client that runs it; else empty"]
    instances: Annotated[tuple[AbandonedInstance, ...] | None, "its VMs; null: the cloud could not be asked"]
    usd_per_hour_at_most: Annotated[float | None, "what they cost, in USD an hour; null: not known"]
    trouble: Annotated[str, "why the cloud could not be asked; else empty"]
    offers: Annotated[tuple[str, ...], "the commands that continue or end it"]

    def as_text(self) -> Lines:
        """Return what it is, what it costs, and what can be done."""
        what = "bake" if self.batch_or_bake == "bake" else "batch"
        first: Line = (Span(f"{what} {self.name} ", "bold yellow"), Span(f"{self._standing()}: {self._costs()}"))
        if self.watched_by:
            return (first, *one_line(f"  no action is needed; {self.offers[0]} to take it over"))
        return (first, *one_line(f"  {' to continue, or '.join(self.offers)} to end it"))

    def _standing(self) -> str:
        if self.watched_by:
            return f"is being run by {self.watched_by}"
        if not self.is_from_here:
            return f"was started elsewhere by {self.owner}; leave it alone if that client is still running"
        return "is running without a client" if self.is_detached else f"was abandoned by {self.owner}"

    def _costs(self) -> str:
        vms = self.instances
        count = "the cloud could not be asked" if vms is None else f"{len(vms)} VM{'s' * (len(vms) != 1)} there now"
        over = sum(bool(vm.expired) for vm in vms or ())
        past = f", {over} of them expired (invoke cleanup)" if over else ""
        usd = self.usd_per_hour_at_most
        cost = "" if usd is None else f", {usd:.2f} USD an hour at most"
        return f"{count}{past}{cost}" + (f" ({self.trouble})" if self.trouble else "")
