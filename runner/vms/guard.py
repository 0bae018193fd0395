"""A guard over VMs: from before they exist until the cloud says that they are gone, or until somebody else answers for them.

The guard needs no memory of success: it deletes by name what was intended, whether or not it was ever seen. An insertion that
was on its way when its caller died can still come through after a first "not found", so what was never seen is looked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from runner.errors import LeftoverError, PermissionDeniedError
from runner.model.leftover import Kind
from runner.system.backoff import Backoff
from runner.system.signals import ending_signals_raised, signals_put_off

AT_ONCE = 8
LAST_POLL_S = 5.0


class VmCloud(Protocol):
    """What the guard asks of a cloud; ``google.compute.Compute`` is one. Both calls may raise CloudError."""

    def instance(self, zone: str, name: str) -> object | None:
        """The VM, or None if the cloud has none of that name there."""

    def delete_instance(self, zone: str, name: str) -> None:
        """Delete it; nothing if it is gone already."""


class VmJournal(Protocol):
    """Where the guard writes down what it is about to answer for; ``journal.journal.SessionState`` is one."""

    def intend(self, kind: str, name: str, zone: str = "", **facts: Any) -> None:
        """Before a VM exists. If this raises, it must not be created."""

    def record(self, fact: str, /, **facts: Any) -> None:
        """What has become of it."""


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A VM by name and zone; ``facts`` go into the journal (machine_type, disk_gib…)."""

    name: str
    zone: str
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"instance {self.name} in {self.zone}"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the guard goes on. ``settle_s``: how long a VM that was never seen may still appear."""

    gone_s: float = 600.0
    settle_s: float = 10.0
    poll_s: float = 0.5


class VMGuard:
    """``with VMGuard(cloud, vms, tell=…, journal=…) as guard: create(); guard.created(name); …; guard.disarm()``.

    On any way out without ``disarm`` (an exception, Ctrl-C, SIGTERM, SIGHUP) each VM is deleted and waited for until the cloud
    says that it is gone. Deleting what is gone already is no error. What could not be deleted is told, in a LeftoverError, or in
    a note on the exception that was under way. Signals during the deletion are told, and obeyed by nobody. ``tell`` hears of these,
    and of each try that failed.
    """

    def __init__(
        self,
        cloud: VmCloud,
        vms: Vm | Iterable[Vm],
        *,
        tell: Callable[[str], None],
        journal: VmJournal | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._cloud = cloud
        self._journal = journal
        self._patience = patience or Patience()
        self._tell = tell
        self._to_come = [vms] if isinstance(vms, Vm) else list(vms)
        self._guarded: list[Vm] = []
        self._seen: set[Vm] = set()
        self._signals = ExitStack()

    @property
    def guarded(self) -> tuple[Vm, ...]:
        """The VMs that would be deleted now."""
        return tuple(self._guarded)

    def add(self, vm: Vm) -> None:
        """One more VM, before it exists.

        Raises:
            HpcError: the journal cannot be written; then it must not be created.
        """
        if self._journal is not None:
            self._journal.intend(Kind.INSTANCE.value, vm.name, vm.zone, **vm.facts)
        self._guarded.append(vm)

    def created(self, name: str) -> None:
        """The VM was seen to be there."""
        vm = self._newest(name)
        self._seen.add(vm)
        self._record("created", vm)

    def gone(self, name: str, answer: str) -> None:
        """The cloud was heard to say that the VM is gone; it is not guarded any more."""
        self._forget(self._newest(name), answer)

    def disarm(self, *names: str) -> None:
        """Somebody else answers for these VMs from here, or for all of them; a second call is harmless."""
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
            with signals_put_off(self._tell):
                failures = self._delete_all() if self._guarded else {}
        finally:
            self._signals.close()
        if not failures:
            return
        left = [f"{vm}: {why}" for vm, why in failures.items()]
        if error is None:
            items = [str(vm) for vm in failures]
            raise LeftoverError(f"still there: {'; '.join(left)}", items=items, remedy="run `invoke cleanup`")
        for item in left:
            error.add_note(f"still there: {item}")

    def _delete_all(self) -> dict[Vm, str]:
        """Why some VMs may still be there; empty if all are gone."""
        give_up_at = time.monotonic() + self._patience.gone_s
        settled_at = time.monotonic() + self._patience.settle_s
        outcomes: dict[Vm, _Outcome] = {}
        backoff = Backoff(first_s=self._patience.poll_s, longest_s=LAST_POLL_S)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="vm-guard") as pool:
            while self._guarded:
                vms = self.guarded
                outcomes |= zip(vms, pool.map(self._delete, vms), strict=True)
                self._forget_what_is_gone(outcomes, is_settled=time.monotonic() >= settled_at)
                if all(outcomes[vm].is_final for vm in self._guarded) or time.monotonic() > give_up_at:
                    break
                backoff.pause()
        return {vm: outcomes[vm].trouble for vm in self._guarded}

    def _delete(self, vm: Vm) -> _Outcome:
        """One try: delete, then ask whether it is gone. Whatever goes wrong with one VM, the others are gone on with."""
        try:
            was_there = self._cloud.instance(vm.zone, vm.name) is not None
            if was_there:
                self._cloud.delete_instance(vm.zone, vm.name)
            is_there = was_there and self._cloud.instance(vm.zone, vm.name) is not None
        except Exception as error:
            self._tell(f"{vm} is not deleted yet: {error}")
            return _Outcome(is_there=None, trouble=str(error), is_final=isinstance(error, PermissionDeniedError))
        return _Outcome(is_there=is_there, was_there=was_there, trouble="the cloud still lists it")

    def _forget_what_is_gone(self, outcomes: Mapping[Vm, _Outcome], *, is_settled: bool) -> None:
        for vm in self.guarded:
            outcome = outcomes[vm]
            if outcome.was_there:
                self._seen.add(vm)
            if outcome.is_there is False and (vm in self._seen or is_settled):
                self._forget(vm, "deleted, then not found" if outcome.was_there else "not found")

    def _newest(self, name: str) -> Vm:
        """The VM that was added last under this name: a second try in another zone may bear the same one."""
        return next(vm for vm in reversed(self._guarded) if vm.name == name)

    def _forget(self, vm: Vm, answer: str) -> None:
        self._guarded.remove(vm)
        self._record("gone", vm, answer=answer)

    def _record(self, fact: str, vm: Vm, **facts: Any) -> None:
        if self._journal is not None:
            self._journal.record(fact, kind=Kind.INSTANCE.value, name=vm.name, zone=vm.zone, **facts)


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What one try came to. ``is_there`` None: the cloud did not say."""

    is_there: bool | None
    was_there: bool = False
    trouble: str = ""
    is_final: bool = False
