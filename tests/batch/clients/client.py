"""A client's computer: the bucket and the cloud of the test, but no engine and no keys; it remembers what the engine was asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from runner.context import Cloud, Context
from runner.errors import HpcError
from runner.google import GONE_ALREADY
from runner.google.os_login import Login
from runner.inventory.inventory import Findings, Inventory
from runner.jobsfile.definition import Definition, save_definition
from runner.jobsfile.preflight import check_batch
from runner.journal.journal import Journals
from runner.lease.keeper import read_lease
from runner.model import names
from runner.model.events import Event, Listener
from runner.model.journal_state import JournalState
from runner.model.lease import Lease, new_lease
from runner.model.leftover import Item, Kind
from runner.model.plan import make_plan
from runner.stacks.contract import EngineLimit, OnProgress, StackSpec
from tests.support.bucket import Batch

END = {".job/end": b"ended 0 1 100.0 101.0 0m0.5s 0m0.1s\n"}


@dataclass(kw_only=True)
class Engine:
    """Stacks that are never created. ``acts``: the requested changes; ``refusal`` is raised by ``up``."""

    acts: list[str] = field(default_factory=list)
    refusal: HpcError = field(default_factory=lambda: HpcError("no VM today"))

    def up(self, spec: StackSpec, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> Mapping[str, object]:
        self.acts.append("up")
        raise self.refusal

    def destroy(self, project: str, name: str, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> None:
        self.acts.append("destroy")

    def remove(self, project: str, name: str, *, force: bool = False) -> None:
        self.acts.append("remove")

    def names(self, project: str) -> list[str]:
        return []

    def interrupt(self) -> None:
        """Nothing runs here."""


@dataclass(kw_only=True)
class Keys:
    """A profile that takes every key, or refuses it with ``trouble``."""

    trouble: HpcError | None = None

    def import_key(self, *, lifetime_s: float) -> Login:
        if self.trouble is not None:
            raise self.trouble
        return Login(user="you", key_file=Path("key"), fingerprint="")


@dataclass(kw_only=True)
class SmallInventory:
    """What the cloud has of the batch; ``bucket`` has what is in the bucket. ``is_stuck``: nothing can be removed."""

    items: list[Item] = field(default_factory=list)
    bucket: Inventory | None = None
    is_stuck: bool = False

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        there = tuple(item for item in self.items if item.kind in kinds)
        if self.bucket is None or Kind.CONTROL not in kinds:
            return Findings(items=there)
        found = self.bucket.find([Kind.CONTROL], labels)
        return Findings(items=there + found.items, unread=found.unread)

    def remove(self, item: Item) -> str:
        if self.is_stuck:
            raise HpcError("it does not go away")
        if item not in self.items:
            return GONE_ALREADY
        self.items.remove(item)
        return "404 notFound"


@dataclass(kw_only=True)
class Doubled:
    """A cloud with parts of the test's own; all others are the real ones."""

    real: Any
    stacks: Engine
    logins: Keys
    inventory: SmallInventory

    def open(self, *, needs_engine: bool = True) -> None:
        """Do nothing: it is open."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@dataclass(kw_only=True)
class Client:
    """A computer with a journal of its own. ``reported``: the events of its commands."""

    batch: Batch
    state_folder: Path
    engine: Engine = field(default_factory=Engine)
    keys: Keys = field(default_factory=Keys)
    inventory: SmallInventory = field(default_factory=SmallInventory)
    reported: list[Event] = field(default_factory=list)

    @cached_property
    def context(self) -> Context:
        real = self.batch.context
        self.inventory.bucket = real.cloud.inventory
        cloud = Doubled(real=real.cloud, stacks=self.engine, logins=self.keys, inventory=self.inventory)
        journals = Journals(folder=self.state_folder / "local" / "journal")
        return replace(real, cloud=cast(Cloud, cloud), state_folder=self.state_folder, journals=journals).with_listener(
            self.listener
        )

    @property
    def listener(self) -> Listener:
        return Listener(on_progress=self.reported.append)

    def events(self, word: str) -> list[dict[str, Any]]:
        """Return the facts of the events of one kind."""
        return [event.as_json() for event in self.reported if event.kind == word]

    def journal(self) -> JournalState:
        """Return the batch's journal here."""
        journal = self.context.journals.read(self.batch.name)
        assert journal is not None
        return journal

    def define(self, *jobs: str, is_saved: bool = True, owner: str = "") -> Definition:
        """Define the batch with these jobs, and save it in the bucket if wanted. ``owner``: somebody else."""
        folder = self.state_folder / "jobs"
        (folder / "m").mkdir(parents=True)
        (folder / "m" / "main.tcl").write_text("puts done\n")
        file = folder / "jobs.yaml"
        lines = "".join(f"  - {{name: {job}, dir: m}}\n" for job in jobs)
        file.write_text(f"batch: {self.batch.name}\njobs:\n{lines}machines: {{max_vms: 1}}\n")
        checked = check_batch(file)
        plan = make_plan(checked.batch, self.context.settings, name=self.batch.name)
        definition = Definition(
            owner=owner or self.context.settings.owner,
            plan=plan,
            inputs=checked.inputs,
            image="image",
            disk_gib=50,
            expires="2026-11-23T10:00",
        )
        if is_saved:
            save_definition(self.context, definition)
        return definition

    def write_lease(self, holder: str = "somebody@there 2", **changes: Any) -> None:
        """Write the batch's lease as another client has it."""
        lease = replace(new_lease(self.batch.name, holder, datetime.now(UTC), 600), **changes)
        self.batch.store.put_control(self.batch.name, names.LEASE, lease.as_json())

    def add_vm(self, owner: str = "") -> None:
        """Add a VM of the batch, as a sweep finds it. ``owner``: somebody else's."""
        labels = {"owner": owner or self.context.settings.owner, **names.labels_of_batch(self.batch.name)}
        vm = Item(kind=Kind.INSTANCE, name=f"{self.batch.name}-0", location="europe-west4-a", labels=labels)
        self.inventory.items.append(vm)

    def lease(self) -> Lease:
        """Return the lease that is in the bucket."""
        found = read_lease(self.batch.store, self.batch.name)
        assert found is not None
        return found.lease

    def has_definition(self) -> bool:
        """Return whether the batch can be attached to."""
        return "batch.json" in self.batch.store.list_control(self.batch.name)
