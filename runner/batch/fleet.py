"""The VMs of a batch: created by the engine, booted, watched, created again elsewhere. Its threads report to the controller.

One thread drives the engine, because a stack takes one update at a time; one watches the cloud; one for each VM waits for its boot.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial

from runner.batch.last_pushes import LastPushes
from runner.batch.late_vms import LateVMs
from runner.batch.messages import Message, ThreadFailed, VMDown, VMReady, VMsCreated, VMsRefused
from runner.batch.stack import VMStack, VMWish
from runner.batch.threads import Threads
from runner.batch.wishes import Wishes
from runner.context import JournalContext
from runner.errors import CloudError, HpcError, UnreachableError
from runner.google import Instance, Login, is_worth_a_retry
from runner.lease import read_preempted
from runner.model import names
from runner.model.stockout import Placement, is_of_gone_vms, lost_vms
from runner.vms import SSH_LIMIT_S, PlacementFinder, Vm, wait_for_host_keys

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
LIST_LIMIT_S = 10 * 60.0
OUTAGE_LIMIT_S = 60.0  # of a cloud that did not answer the engine, either
ENGINE_END_LIMIT_S = 120.0  # VMs that are just being created take up to a minute
ENGINE_KILL_LIMIT_S = 15.0
THREADS_END_LIMIT_S = 10.0  # a thread that waits for a VM to answer may take longer, and then closes what it opened
MOST_REPEATED_UPDATES = 3


class Fleet:
    """Creates and watches the VMs of one batch. ``stack`` and ``report`` are called from its threads.

    ``max_run_s``: how long after its creation the cloud ends each VM (``maxRunDuration``).

    Nothing happens before ``start``. ``close`` ends all threads and waits for them; the VMs stay: ``end`` deletes them.
    """

    def __init__(
        self,
        *,
        context: JournalContext,
        stack: VMStack,
        max_run_s: float,
        report: Callable[[Message], None],
    ) -> None:
        self._context = context
        self._batch = context.journal.name
        self._stack = stack
        self._max_run_s = max_run_s
        self._report = report
        self._login: Login  # from ``start`` on
        self._placement_finder = PlacementFinder(context)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._wishes = Wishes()
        self._requests: queue.SimpleQueue[tuple[str, ...] | None] = queue.SimpleQueue()
        self._seen: dict[str, Instance] = {}
        self._down: set[str] = set()
        self._answered: set[str] = set()
        self._intended: set[VMWish] = set()
        self._created: set[str] = set()  # as the engine's thread listed them last
        self._in_update: tuple[VMWish, ...] = ()  # until it ends by itself
        self._repeats = 0  # of updates in a row that failed only of VMs that had gone
        self._engine: threading.Thread | None = None
        self._threads = Threads(lambda error: report(ThreadFailed(error=error)))
        self._last_pushes = LastPushes(context)
        self._late_vms = LateVMs(context=context, threads=self._threads, check=stack.check)

    def start(self) -> None:
        """Start to create and to watch. Call it once.

        Raises:
            CloudError: no key could be left for the VMs.
        """
        self._login = self._stack.new_login()
        self._engine = self._threads.start(self._drive_engine, name="engine")
        self._threads.start(self._watch, name="watch")

    @property
    def cut_off(self) -> tuple[Vm, ...]:
        """The VMs that an interrupted update may still create: its engine is gone, an insertion may be on its way."""
        wishes = (wish for wish in self._in_update if wish.name not in self._seen)
        return tuple(Vm(name=wish.name, zone=wish.zone) for wish in wishes)

    @property
    def is_open(self) -> bool:
        """Whether VMs are still wanted."""
        return not self._closed.is_set()

    def request(self, wishes: Sequence[VMWish]) -> None:
        """Request these VMs, in addition to the existing ones."""
        _log.info("requested: %s", wishes)
        self._wishes.add(wishes)
        self._requests.put(tuple(wish.name for wish in wishes))

    def adopt(self, instances: Sequence[Instance], *, answered: Collection[str] = ()) -> None:
        """Take over existing VMs: they are connected to and watched.

        ``answered``: those that have answered before. They get no time to boot: one that is silent now is given up like any other.
        """
        wishes = [_wish_of(instance) for instance in instances]
        self._answered.update(answered)
        self._intend(wishes)
        self._wishes.add(wishes)
        self._boot_new(instances)

    def forget(self, name: str, *, owes: bool = False) -> None:
        """Stop requesting a lost VM: the next update leaves it out. Its ``Rescue`` deletes it.

        ``owes``: results may still come from it, and updates wait for ``note_ended``, though not for ever.
        """
        if owes:
            self._last_pushes.expect(name)
        self._wishes.drop(name)
        with self._lock:
            self._down.add(name)

    def note_ended(self, name: str) -> None:
        """Stop waiting for what a lost VM may push."""
        self._last_pushes.note_ended(name)

    def abandon(self, name: str) -> None:
        """Delete a VM that nothing else looks after, should it run after all."""
        self.forget(name)
        self._late_vms.add(name)

    def close(self) -> None:
        """End the threads. An engine that runs is interrupted, then killed: the end of the batch must not wait for ever."""
        with self._lock:
            self._closed.set()
        self._requests.put(None)
        if self._engine is not None:
            self._end_engine(self._engine)
        self._threads.join(THREADS_END_LIMIT_S)

    def _end_engine(self, engine: threading.Thread) -> None:
        if engine.is_alive():
            self._context.cloud.stacks.interrupt()
        engine.join(ENGINE_END_LIMIT_S)
        if engine.is_alive():
            self._context.warn("the Pulumi engine did not stop in time; killing it")
            self._context.cloud.stacks.kill()
            engine.join(ENGINE_KILL_LIMIT_S)

    def _drive_engine(self) -> None:
        while (asked := self._requests.get()) is not None and self.is_open:
            try:
                with self._context.phases.phase("up"):
                    self._create(asked)
            except HpcError as error:
                wanted = self._wishes.names() - self._created
                refused = tuple(name for name in asked if name in wanted)
                self._report(VMsRefused(names=refused, error=error))

    def _create(self, asked: Sequence[str]) -> None:
        """Update the stack until these VMs exist, each time in another zone where one has no capacity."""
        while not self._update(asked):
            pass

    def _update(self, asked: Sequence[str]) -> bool:
        """Run one update; return False if another one is worth a try.

        Raises:
            HpcError: the requested VMs do not exist, and no other zone or machine type is left to try.
        """
        self._last_pushes.wait(lambda: self.is_open)
        if not self.is_open:
            return True
        self._stack.check()
        if self._created:  # the new VMs come later than the first ones, and the key must outlive them too
            self._login = self._stack.new_login()
        wishes = self._wishes.date(names.expires_label(self._context.now() + timedelta(seconds=self._max_run_s)))
        self._intend(wishes)
        failure: HpcError | None = None
        self._in_update = tuple(wishes)
        try:
            self._stack.update(wishes)
        except HpcError as error:
            failure = error
        if failure is None or self.is_open:
            self._in_update = ()
        instances = self._list_created(failure)
        self._boot_new(instances)
        missing = sorted(set(asked) & self._wishes.names() - self._created)
        went = set(missing if failure is None else lost_vms(failure)) & set(missing)
        for name in sorted(went):
            self._report_down(name, "cloud", "it was deleted while it was being created")
        refused = [name for name in missing if name not in went]
        if failure is not None and refused:
            if not self.is_open or not self._is_worth_another(refused, failure):
                raise failure
            return False
        if failure is not None and self.is_open and not self._is_of_gone_vms(failure):  # closed: it was interrupted
            self._context.warn(f"the requested VMs were created, but with errors: {failure}")
        self._repeats = 0
        self._report(VMsCreated(instances=tuple(instances)))
        return True

    def _is_worth_another(self, refused: Sequence[str], failure: HpcError) -> bool:
        """Return whether another update may create what this one did not."""
        if self._is_of_gone_vms(failure) and self._repeats < MOST_REPEATED_UPDATES:
            self._repeats += 1
            return True
        return self._move_on(refused, failure)

    def _is_of_gone_vms(self, failure: HpcError) -> bool:
        """Return whether an update failed only because VMs are gone: spot VMs may be deleted at any time, also while an update is about
        to delete them."""
        return is_of_gone_vms(failure, is_gone=lambda name: name not in self._created)

    def _list_created(self, failure: HpcError | None) -> list[Instance]:
        """Return all VMs that the cloud lists after an update; while the cloud does not answer, ask again for a while.

        Raises:
            HpcError: the failure of the update, if it had one; else that of the list.
        """
        give_up_at = self._context.monotonic() + (LIST_LIMIT_S if failure is None else OUTAGE_LIMIT_S)
        while True:
            try:
                instances = self._context.cloud.compute.instances(names.labels_of_batch(self._batch))
            except CloudError as error:
                may_pass = failure is None or isinstance(failure, UnreachableError)
                is_passing = may_pass and is_worth_a_retry(error, is_idempotent=True)
                if not (is_passing and self.is_open and self._context.monotonic() < give_up_at):
                    if failure is None:
                        raise
                    raise failure from failure.__cause__  # its diagnostics stay
                self._context.sleep(LOOK_EVERY_S)
            else:
                self._created = {found.name for found in instances}
                return instances

    def _intend(self, wishes: Sequence[VMWish]) -> None:
        """Record in the journal what this update may create: what was requested now, and all that was requested meanwhile."""
        for wish in wishes:
            if wish not in self._intended:
                self._context.journal.intend("instance", wish.name, wish.zone, machine_type=wish.machine_type)
                self._intended.add(wish)

    def _move_on(self, names_missing: Sequence[str], error: HpcError) -> bool:
        """Request the VMs that were not created in another place; return False if none is left."""
        missing = self._wishes.find(names_missing)
        if not missing:
            return False
        placement = Placement(zone=missing[0].zone, machine_type=missing[0].machine_type)
        found = self._placement_finder.after(placement, error, vms=names_missing, is_wanted=lambda: self.is_open)
        _log.info("after %s, for %s: %s", placement, names_missing, found or "no other placement")
        if found is None:
            return False
        self._wishes.move([wish.name for wish in missing], found)
        return True

    def _boot_new(self, instances: Sequence[Instance]) -> None:
        """Boot those that are new. For several threads."""
        for instance in instances:
            is_wanted = instance.name in self._wishes.names()
            with self._lock:
                is_known = instance.name in self._seen
                is_new = is_wanted and not is_known
                self._seen[instance.name] = instance
            if not is_known:
                self._context.journal.record("created", kind="instance", name=instance.name, zone=instance.zone)
            if is_new:
                self._threads.start(partial(self._boot, instance), name=f"boot {instance.name}")

    def _boot(self, instance: Instance) -> None:
        try:
            with self._context.phases.phase("boot", of=instance.name):
                keys: Mapping[str, str] = wait_for_host_keys(self._context, instance, lambda: self.is_open)
                has_answered = instance.name in self._answered
                limit_s = self._context.settings.lost_after_s if has_answered else SSH_LIMIT_S
                interface = self._context.cloud.job_interface(instance, self._login, keys, self._batch, limit_s=limit_s)
        except HpcError as error:
            if self.is_open:
                self._report_down(instance.name, "boot", str(error))
            return
        with self._lock:  # the controller closes what is reported before ``close``; what comes later is closed here
            if self.is_open:
                self._report(VMReady(instance=instance, interface=interface))
                return
        interface.close()

    def _watch(self) -> None:
        """Watch for the end of VMs: their own markers in the bucket, and the cloud's list."""
        trouble = ""
        while not self._closed.wait(LOOK_EVERY_S):
            try:
                self._look()
                trouble = ""
            except CloudError as error:
                if not trouble:
                    self._context.warn(f"the state of the VMs cannot be read: {error}")
                trouble = str(error)

    def _look(self) -> None:
        """Find VMs that are gone, and VMs that run before the engine is done: others of its update may take minutes longer."""
        with self._lock:
            expected = [name for name in self._seen if name not in self._down]
            coming = self._wishes.names() - set(self._seen)
        if expected:
            for name in read_preempted(self._context.cloud.results, self._batch):
                if name in expected:
                    self._report_down(name, "marker", "it was preempted")
        if not (expected or coming or self._late_vms.may_come):
            return
        found = self._context.cloud.compute.instances(names.labels_of_batch(self._batch))
        self._boot_new([instance for instance in found if instance.name in coming and instance.runs])
        self._late_vms.end(found)
        there = {instance.name: instance for instance in found}
        for name in expected:
            if name not in there or there[name].has_ended:
                status = there[name].status if name in there else "gone"
                self._report_down(name, "cloud", f"its state in the cloud is {status}")

    def _report_down(self, name: str, witness: str, reason: str) -> None:
        with self._lock:
            if name in self._down:
                return
            self._down.add(name)
        self._wishes.drop(name)
        self._report(VMDown(name=name, witness=witness, reason=reason))


def _wish_of(instance: Instance) -> VMWish:
    return VMWish(
        name=instance.name,
        zone=instance.zone,
        machine_type=instance.machine_type,
        provisioning=instance.provisioning,
        expires=instance.labels.get("expires", ""),
    )
