"""The state of a batch or bake according to its journal: owner, resources, and the states of its jobs. Pure.

The kinds of records that are understood here, with their facts:

=========  ==========================================================================================================
begin      format, journal (run or bake), name, owner, and facts of the whole (target, project…)
owner      owner: another process has taken over the journal
plan       machine_type, price_usd_per_hour, max_run_s, zones, and others; a later plan overrides an earlier one
intend     kind, name, zone: this will be created. kind: instance, disk, address, image, firewall, stack (its zone: base,
           image or analysis)…; for an instance machine_type and disk_gib, or price_usd_per_hour; keep: it is to stay
created    kind, name, zone: it was seen to exist
gone       kind, name, zone, answer or answers: the cloud said so, and how
failed     kind, name, zone, answer or answers: it was never created, and why
job        job, state, and what else is known (attempt, instance, exit_code, wall_s, message)
detached   the owner leaves on purpose, and the batch continues without it
end        outcome
=========  ==========================================================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from runner.model import names
from runner.model.journal_record import FORMAT, Record

RUN = "run"
BAKE = "bake"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Exactly one process: its number is used again, but not together with its start time and the computer's boot.

    ``pid_namespace``: where its number counts; containers have numbers of their own. ``lock``: the file whose lock it holds
    while it owns a journal. '' if they are not known.
    """

    user: str
    host: str
    pid: int
    process_started: float
    boot_id: str
    machine_id: str
    pid_namespace: str = ""
    lock: str = ""

    @property
    def identity(self) -> str:
        """An ID that no other process has, anywhere; it does not reveal the computer's ID."""
        own = (self.host, self.machine_id, self.boot_id, self.pid_namespace, self.pid, self.process_started)
        return hashlib.sha256(repr(own).encode()).hexdigest()[:32]

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (process {self.pid})"

    def is_on_computer_of(self, other: Owner) -> bool:
        """Return whether both are processes of one computer. A computer with a copied disk has another machine ID, or at least another host name."""
        return (self.machine_id, self.host) == (other.machine_id, other.host)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource that a journal intended, from then to its end; one that has the same name later is another resource."""

    kind: str
    name: str
    zone: str = ""
    intended: datetime | None = None
    created: datetime | None = None
    gone: datetime | None = None
    has_failed: bool = False
    answers: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Whether it is meant to stay after the journal has ended."""
        return self.facts.get("keep") is True


@dataclass(frozen=True, kw_only=True)
class JobTrace:
    """The latest facts that the journal has about a job. ``states``: every state with its time, oldest first."""

    name: str
    state: str
    at: datetime
    states: tuple[tuple[str, datetime], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JournalState:
    """A batch (``run``) or bake according to its journal.

    ``is_owner_alive``: a living process uses it, as was seen when the journal was read. ``is_owner_gone``: it is certain that its
    last owner does not use it any more. Neither is true where that is not known. ``troubles``: what could not be read, a sentence each.
    """

    name: str
    kind: str = ""
    owner: Owner | None = None
    is_owner_alive: bool = False
    is_owner_gone: bool = False
    format: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    outcome: str = ""
    is_detached: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[Resource, ...] = ()
    jobs: tuple[JobTrace, ...] = ()
    records: tuple[Record, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether its owner, or a cleanup, has ended it."""
        return self.ended is not None

    @property
    def is_abandoned(self) -> bool:
        """Not ended, and no process uses it."""
        return not self.has_ended and not self.is_owner_alive

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that it created."""
        return names.labels_of_bake(self.name) if self.kind == BAKE else names.labels_of_batch(self.name)

    @property
    def intended(self) -> tuple[Resource, ...]:
        """The resources that were announced before they were created."""
        return tuple(item for item in self.resources if item.intended is not None)

    @property
    def created(self) -> tuple[Resource, ...]:
        """The resources that were seen to exist."""
        return tuple(item for item in self.resources if item.created is not None)

    @property
    def gone(self) -> tuple[Resource, ...]:
        """The resources that were seen to be gone."""
        return tuple(item for item in self.resources if item.gone is not None)

    @property
    def answered(self) -> frozenset[str]:
        """The VMs that have answered a client of this computer: it began jobs on them."""
        return frozenset(record.text("instance") for record in self.records if record.kind == "job") - {""}


def read_journal_state(name: str, records: Sequence[Record], troubles: Sequence[str] = ()) -> JournalState:
    """Return the journal that these records describe. Never raises; records that are not understood are only in ``records``."""
    reading = _Reader(JournalState(name=name, records=tuple(records), troubles=tuple(troubles)))
    for record in records:
        reading.add(record)
    return reading.journal()


class _Reader:
    """The state of a journal while its records are read, oldest first."""

    def __init__(self, journal: JournalState) -> None:
        self._journal = journal
        self._plan: dict[str, Any] = {}
        self._resources: list[Resource] = []
        self._named: dict[tuple[str, str], list[int]] = {}
        self._jobs: dict[str, JobTrace] = {}
        self._acts: dict[str, Callable[[Record], None]] = {
            "begin": self._begin,
            "owner": self._take_over,
            "plan": lambda record: self._plan.update(record.facts),
            "intend": self._live,
            "created": self._live,
            "gone": self._live,
            "failed": self._live,
            "job": self._work,
            "detached": lambda record: self._set(is_detached=True),
            "end": lambda record: self._set(ended=record.at, outcome=record.text("outcome"), is_detached=False),
        }

    def add(self, record: Record) -> None:
        """Apply the next record; do nothing if its kind is not known."""
        act = self._acts.get(record.kind)
        if act is not None:
            act(record)

    def journal(self) -> JournalState:
        """Return the journal as far as the records go."""
        self._set(plan=self._plan, resources=tuple(self._resources), jobs=tuple(self._jobs.values()))
        if self._journal.format > FORMAT:
            newer = f"written by a newer version (format {self._journal.format}); what this version does not know is skipped"
            self._set(troubles=(*self._journal.troubles, newer))
        return self._journal

    def _set(self, **changes: Any) -> None:
        self._journal = replace(self._journal, **changes)

    def _begin(self, record: Record) -> None:
        number = record.facts.get("format")
        self._set(
            kind=record.text("session"),
            format=number if isinstance(number, int) else 0,
            owner=read_owner(record.facts.get("owner")),
            started=record.at,
            facts=_without(record.facts, "format", "session", "name", "owner"),
        )

    def _take_over(self, record: Record) -> None:
        owner = read_owner(record.facts.get("owner")) or self._journal.owner
        self._set(owner=owner, ended=None, outcome="", is_detached=False)

    def _live(self, record: Record) -> None:
        """Apply an intent, or a fact about a resource: to the one of this name that is not gone yet, else to a new one."""
        kind, name, zone = (record.text(key) for key in ("kind", "name", "zone"))
        if not (kind and name):
            return
        known = [n for n in self._named.get((kind, name), []) if _fits(self._resources[n].zone, zone)]
        is_open = bool(known) and self._resources[known[-1]].gone is None
        if known and not is_open and record.kind in ("gone", "failed"):
            return  # reported again
        if not is_open:
            self._named.setdefault((kind, name), []).append(len(self._resources))
            self._resources.append(Resource(kind=kind, name=name, zone=zone))
        index = known[-1] if is_open else len(self._resources) - 1
        self._resources[index] = _after(self._resources[index], record)

    def _work(self, record: Record) -> None:
        name, state = record.text("job"), record.text("state")
        if not name:
            return
        before = self._jobs.get(name, JobTrace(name=name, state="", at=record.at))
        self._jobs[name] = JobTrace(
            name=name,
            state=state or before.state,
            at=record.at,
            states=(*before.states, (state, record.at)) if state else before.states,
            facts={**before.facts, **_without(record.facts, "job", "state")},
        )


def _after(item: Resource, record: Record) -> Resource:
    """Return the resource after a record about it. Of times the first one counts, of answers the last."""
    first = {"intend": "intended", "created": "created", "gone": "gone", "failed": "gone"}[record.kind]
    times: dict[str, Any] = {first: getattr(item, first) or record.at}
    return replace(
        item,
        zone=item.zone or record.text("zone"),
        answers=_read_answers(record) or item.answers,
        has_failed=item.has_failed or record.kind == "failed",
        facts={**item.facts, **_without(record.facts, "kind", "name", "zone", "answer", "answers")},
        **times,
    )


def _read_answers(record: Record) -> tuple[str, ...]:
    """Return what the cloud said: several answers, or one."""
    several = record.facts.get("answers")
    if isinstance(several, list | tuple):
        return tuple(text for text in several if isinstance(text, str))
    one = record.text("answer")
    return (one,) if one else ()


def _fits(zone: str, other: str) -> bool:
    """Return whether two zones can be the same; an unknown zone matches any."""
    return not zone or not other or zone == other


def _without(facts: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in keys}


def read_owner(value: object) -> Owner | None:
    """Read an owner from JSON values; None if it is incomplete."""
    if not isinstance(value, Mapping):
        return None
    texts = {key: value.get(key) for key in ("user", "host", "boot_id", "machine_id")}
    pid, begun = value.get("pid"), value.get("process_started")
    if not all(isinstance(text, str) for text in texts.values()):
        return None
    if not isinstance(pid, int) or not isinstance(begun, int | float):
        return None
    return Owner(
        pid=pid,
        process_started=float(begun),
        pid_namespace=str(value.get("pid_namespace", "")),
        lock=str(value.get("lock", "")),
        **{key: str(text) for key, text in texts.items()},
    )
