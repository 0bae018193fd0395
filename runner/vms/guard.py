"""A guard over VMs: from before they exist until the cloud says that they are gone, or until another owner is responsible for them.

A facade. VMs are deleted as any sweep deletes them (``runner.inventory``); what the guard adds is the journal, signals, and the
wait for a late insertion: one that was on its way when its client died can still come through after a first "not found". So
the guard deletes by name what was intended, whether or not it was ever seen, and looks again for what never was.

A bake has one around its builder. A batch ends by its stack and by label, and has one for the VMs of an update of its stack that
was cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from runner.context import JournalContext
from runner.google import GONE_ALREADY
from runner.inventory import Removal, SweepReport, leftover_error, remove_items
from runner.model.leftover import Item, Kind
from runner.system.backoff import Backoff
from runner.system.signals import ending_signals_raised, signals_put_off

LAST_POLL_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A VM by name and zone; ``facts`` go into the journal (machine_type, disk_gib…)."""

    name: str
    zone: str
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def item(self) -> Item:
        """The VM as a sweep sees it."""
        return Item(kind=Kind.INSTANCE, name=self.name, location=self.zone)


@dataclass(frozen=True, kw_only=True)
class GuardLimits:
    """How long the guard keeps trying. ``settle_s``: how long a VM that was never seen may still appear."""

    gone_s: float = 600.0
    settle_s: float = 10.0
    poll_s: float = 0.5


class VMGuard:
    """``with VMGuard(context, vms) as guard: create(); guard.created(name); …; guard.disarm()``.

    On any way out without ``disarm`` (an exception, Ctrl-C, SIGTERM, SIGHUP) each VM is deleted and waited for until the cloud
    says that it is gone. Deleting a VM that is already gone is no error. What could not be deleted is in a LeftoverError, or in a
    note on the exception that was under way. Signals during the deletion are reported, and do not stop it; so is each attempt
    that failed.
    """

    def __init__(
        self, context: JournalContext, vms: Vm | Iterable[Vm] = (), *, limits: GuardLimits | None = None
    ) -> None:
        self._context = context
        self._limits = limits or GuardLimits()
        self._to_come = [vms] if isinstance(vms, Vm) else list(vms)
        self._guarded: list[Vm] = []
        self._seen: set[Vm] = set()
        self._signals = ExitStack()

    @property
    def guarded(self) -> tuple[Vm, ...]:
        """The VMs that would be deleted now."""
        return tuple(self._guarded)

    def add(self, vm: Vm) -> None:
        """Guard one more VM, before it exists.

        Raises:
            HpcError: the journal cannot be written; then the VM must not be created.
        """
        self._context.journal.intend(Kind.INSTANCE.value, vm.name, vm.zone, **vm.facts)
        self.adopt(vm)

    def adopt(self, vm: Vm) -> None:
        """Guard one more VM, which the journal names already."""
        self._guarded.append(vm)

    def created(self, name: str) -> None:
        """Note that the VM was seen to exist."""
        vm = self._newest(name)
        self._seen.add(vm)
        self._record("created", vm)

    def gone(self, name: str, answer: str) -> None:
        """Stop guarding the VM: the cloud has said that it is gone."""
        self._forget(self._newest(name), answer)

    def disarm(self, *names: str) -> None:
        """Stop guarding these VMs, or all: another owner is responsible for them now. A second call is harmless."""
        self._guarded = [vm for vm in self._guarded if names and vm.name not in names]

    def __enter__(self) -> Self:
        self._signals.enter_context(ending_signals_raised())
        try:
            for vm in self._to_come:
                self.add(vm)
        except BaseException:
            self._signals.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with signals_put_off(self._context.warn):
                report = self._delete_all()
        finally:
            self._signals.close()
        if report.is_clean:
            return
        leftover = leftover_error(self._context.journal.name, report, remedy="run `invoke cleanup`")
        if error is None:
            raise leftover
        error.add_note(str(leftover))

    def _delete_all(self) -> SweepReport:
        """Delete the VMs until the cloud has none of them, or the time is up."""
        now = self._context.monotonic
        give_up_at, settled_at = now() + self._limits.gone_s, now() + self._limits.settle_s
        backoff = Backoff(first_s=self._limits.poll_s, longest_s=LAST_POLL_S, sleep=self._context.sleep, monotonic=now)
        removals: dict[tuple[Kind, str, str], Removal] = {}
        while self._guarded:
            items = {vm.item.key: vm.item for vm in self._guarded}
            last = {
                removal.item.key: removal for removal in remove_items(self._context.cloud.inventory, items.values())
            }
            removals.update(last)
            self._forget_what_is_gone(last, is_settled=now() >= settled_at)
            if all(last[vm.item.key].is_refused for vm in self._guarded) or now() > give_up_at:
                break
            backoff.pause()
        left = {vm.item.key: vm.item for vm in self._guarded}
        return SweepReport(removals=tuple(removals.values()), left=tuple(left.values()), unread=())

    def _forget_what_is_gone(self, removals: Mapping[tuple[Kind, str, str], Removal], *, is_settled: bool) -> None:
        for removal in removals.values():
            if not removal.is_gone:
                self._context.warn(f"{removal.item} is not deleted yet: {removal.answer}")
        for vm in self.guarded:
            removal = removals[vm.item.key]
            if removal.is_gone and removal.answer != GONE_ALREADY:
                self._seen.add(vm)
            if removal.is_gone and (vm in self._seen or is_settled):
                self._forget(vm, removal.answer)

    def _newest(self, name: str) -> Vm:
        """Return the VM that was added last under this name: a second attempt in another zone may have the same one."""
        return next(vm for vm in reversed(self._guarded) if vm.name == name)

    def _forget(self, vm: Vm, answer: str) -> None:
        self._guarded.remove(vm)
        self._record("gone", vm, answer=answer)

    def _record(self, fact: str, vm: Vm, **facts: Any) -> None:
        self._context.journal.record(fact, kind=Kind.INSTANCE.value, name=vm.name, zone=vm.zone, **facts)
