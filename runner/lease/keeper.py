"""Keeping the lease of a batch in the bucket: taken, renewed in a thread, lost, given back. Also reads what VMs leave beside it.

The store is a ``ResultStore``; here only its control objects are used.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from runner.errors import CloudError, ConflictError, NotFoundError, UnreachableError
from runner.model import names
from runner.model.deadline import WATCH_S
from runner.model.lease import Lease, new_lease, parse_lease
from runner.results import ControlObject

JOIN_LIMIT_S = 5.0
RENEWALS_IN_A_LEASE = 3
TRIES = 5


class WatchedError(ConflictError):
    """Another client, ``holder``, watches the batch."""

    def __init__(self, message: str, *, holder: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.holder = holder


def taken_over(batch: str, holder: str) -> WatchedError:
    """Return the error of a client whose batch another one has taken over: nothing of it may be touched from now on."""
    return WatchedError(f"batch {batch} is being run by {holder}", holder=holder)


class ControlStore(Protocol):
    """The control objects of batches. ``put_control`` may be repeated; see ``ResultStore``. Every call may raise CloudError."""

    def get_control(self, batch: str, name: str) -> ControlObject | None: ...

    def put_control(self, batch: str, name: str, content: bytes, *, if_generation: int | None = None) -> int: ...

    def list_control(self, batch: str) -> list[str]: ...


@dataclass(frozen=True, kw_only=True)
class StoredLease:
    """A lease as it was read."""

    lease: Lease
    generation: int


def read_lease(store: ControlStore, batch: str) -> StoredLease | None:
    """Return the lease of a batch, None if it has none.

    Raises:
        CloudError: it could not be read, or is corrupt.
    """
    found = store.get_control(batch, names.LEASE)
    if found is None:
        return None
    try:
        return StoredLease(lease=parse_lease(found.content), generation=found.generation)
    except ValueError as error:
        raise CloudError(f"{names.lease_object(batch)}: {error}") from error


def change_lease(store: ControlStore, batch: str, change: Callable[[Lease], Lease]) -> Lease:
    """Rewrite a lease that another client may renew at the same moment; return the new lease.

    Raises:
        CloudError: the batch has no lease, or it could not be written.
    """
    for _ in range(TRIES):
        found = read_lease(store, batch)
        if found is None:
            break
        wanted = change(found.lease)
        try:
            store.put_control(batch, names.LEASE, wanted.as_json(), if_generation=found.generation)
        except ConflictError:
            continue
        return wanted
    raise ConflictError(f"batch {batch} has no lease, or other clients keep changing it")


def read_preempted(store: ControlStore, batch: str) -> set[str]:
    """Return the VMs of a batch whose last act was to write that they were preempted."""
    folder = names.preemption_prefix(batch).removeprefix(names.control_prefix(batch))
    return {name.removeprefix(folder) for name in store.list_control(batch) if name.startswith(folder)}


@dataclass(frozen=True, kw_only=True)
class LeaseTerms:
    """``holder``, ``holder_id``: this client, as in ``Lease``. ``take_over``: also from a client that seems to be watching.

    ``predecessors``: holders that are known to be gone, whatever the lease says, as ``Lease.is_held_by`` has them; they need no
    ``take_over``.
    ``deadlines``: as in ``Lease``; a lease that is taken over keeps its own where it has one.
    """

    batch: str
    lease_s: float
    holder: str
    holder_id: str = ""
    take_over: bool = False
    predecessors: Collection[str] = ()
    deadlines: Mapping[str, float] = field(default_factory=dict)


def _ignore_lease(lease: Lease) -> None:
    return None


def _now() -> datetime:
    return datetime.now(UTC)


def _elapsed_s() -> float:
    """Return the time of a clock that runs on while the computer sleeps, where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


@dataclass(frozen=True, kw_only=True)
class LeaseEvents:
    """Callbacks, called at entering and from the keeper's thread, which must not be held up.

    ``on_change``: a deadline was moved. ``on_lost``: another client took the lease, which is passed. ``on_gone``: it was removed.
    """

    on_change: Callable[[Lease], None] = _ignore_lease
    on_lost: Callable[[Lease], None] = _ignore_lease
    on_gone: Callable[[], None] = lambda: None


class LeaseState(Enum):
    """Whose a lease is, as far as its keeper knows."""

    OURS = "ours"
    TAKEN = "taken"  # by another client
    REMOVED = "removed"


class LeaseCheck(Protocol):
    """``LeaseKeeper.check``."""

    def __call__(self, *, within_s: float = 0.0) -> None: ...


class LeaseKeeper:
    """A context manager: takes the lease, renews it every third of its length, checks more often whether it was changed.

    What fails is tried again at the next check, for as long as it takes; ``age_s`` is the time since the last success. At the end of
    the block the lease is left as it is, and expires; ``detach`` marks the batch as one that needs no client.

    ``was_detached``: the batch ran alone before.

    Raises (entering):
        WatchedError: another client watches this batch, and ``take_over`` was not given.
        CloudError: the lease could not be written.
    """

    def __init__(
        self,
        store: ControlStore,
        terms: LeaseTerms,
        events: LeaseEvents | None = None,
        *,
        now: Callable[[], datetime] = _now,
        monotonic: Callable[[], float] = _elapsed_s,
    ) -> None:
        self._store = store
        self._terms = terms
        self._events = events or LeaseEvents()
        self._now = now
        self._monotonic = monotonic
        self._writing = threading.RLock()
        self._stopping = threading.Event()
        self._generation = 0
        self._was_taken = False
        self._renewed_at = self._looked_at = monotonic()
        self._lease = replace(
            new_lease(terms.batch, terms.holder, now(), terms.lease_s, holder_id=terms.holder_id),
            deadlines=dict(terms.deadlines),
        )
        self._thread = threading.Thread(target=self._keep, daemon=True, name=f"lease of {terms.batch}")
        self.trouble = ""
        self.state = LeaseState.OURS
        self.was_detached = False

    @property
    def lease(self) -> Lease:
        """The lease as it was last written or read."""
        return self._lease

    @property
    def lost_to(self) -> str:
        """The other client that has it; '' if none."""
        return self._lease.holder if self.state is LeaseState.TAKEN else ""

    @property
    def age_s(self) -> float:
        """The time since it was last renewed. Beyond ``lease_s`` the VMs begin to delete themselves."""
        return self._monotonic() - self._renewed_at

    def __enter__(self) -> Self:
        try:
            return self._begin()
        except BaseException:
            if self._was_taken and self.was_detached:  # the batch ran alone before, and does so again
                with contextlib.suppress(CloudError):
                    self.detach()
            raise

    def _begin(self) -> Self:
        with self._writing:
            self._take()
        if self._lease.deadlines != self._terms.deadlines:  # they were moved before
            self._events.on_change(self._lease)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def detach(self) -> None:
        """Stop watching: running jobs may end, then the VMs delete themselves.

        Raises:
            CloudError: the lease is lost, or could not be written.
        """
        self._stop()
        with self._writing:
            self._write(lambda lease: replace(lease, detached=True))

    def look(self) -> None:
        """Renew it if that is due, else check whether it was changed. The keeper's thread does this regularly."""
        asked_at = self._monotonic()
        try:
            with self._writing:
                due = self.state is LeaseState.OURS and self.age_s >= self._terms.lease_s / RENEWALS_IN_A_LEASE
                self._write(lambda lease: lease) if due else self._notice(read_lease(self._store, self._terms.batch))
                self.trouble = ""
                self._looked_at = asked_at
        except CloudError as error:
            self.trouble = str(error)

    def check(self, *, within_s: float = 0.0) -> None:
        """Check the lease now, before an act that must not happen to another client's batch; not if it was checked within ``within_s``.

        Raises:
            WatchedError: another client has it.
            UnreachableError: it has expired and cannot be read, so that another client may have it by now.
        """
        if self._monotonic() - self._looked_at >= within_s:
            self.look()
        if self.lost_to:
            raise taken_over(self._terms.batch, self.lost_to)
        if self.trouble and self.state is LeaseState.OURS and self.age_s > self._terms.lease_s:
            raise UnreachableError(f"the holder of batch {self._terms.batch} is unknown: {self.trouble}")

    def _keep(self) -> None:
        look_s = min(WATCH_S, self._terms.lease_s / (2 * RENEWALS_IN_A_LEASE))
        while self.state is LeaseState.OURS and not self._stopping.wait(look_s):
            self.look()

    def _stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(JOIN_LIMIT_S)

    def _take(self) -> None:
        """Take the lease, or write a new one if there is none. Of two clients that try at once, one finds that the other has it."""
        for _ in range(TRIES):
            found = read_lease(self._store, self._terms.batch)
            if found is not None:
                self._generation = found.generation
                self._lease = self._claim(found.lease)
                self.was_detached = self.was_detached or found.lease.detached
            try:
                return self._put(self._lease.renew(self._now(), self._terms.lease_s))
            except (ConflictError, NotFoundError) as error:
                refusal = error
                self._generation = 0  # the lease was replaced or removed
        raise refusal

    def _claim(self, lease: Lease) -> Lease:
        """Return another client's lease as ours."""
        terms = self._terms
        is_free = terms.take_over or self._is_ours(lease) or lease.is_held_by(terms.predecessors)
        if lease.is_watched(self._now()) and not is_free:
            self._lease, self.state = lease, LeaseState.TAKEN
            raise WatchedError(
                f"batch {terms.batch} is watched by {lease.holder} (last renewed at {lease.renewed:%H:%M:%S} UTC)",
                holder=lease.holder,
                remedy=f"let it run, or take the batch over: invoke attach --batch {terms.batch} --take-over",
            )
        return replace(
            lease,
            holder=terms.holder,
            holder_id=terms.holder_id,
            detached=False,
            deadlines={**terms.deadlines, **lease.deadlines},
        )

    def _is_ours(self, lease: Lease) -> bool:
        return (lease.holder, lease.holder_id) == (self._terms.holder, self._terms.holder_id)

    def _write(self, change: Callable[[Lease], Lease]) -> None:
        """Renew the lease with a change, on top of what others may have changed in it meanwhile."""
        for _ in range(TRIES):
            if self.state is not LeaseState.OURS:
                raise ConflictError(
                    f"the lease of batch {self._terms.batch} is lost to {self._lease.holder or 'nobody'}"
                )
            try:
                return self._put(change(self._lease.renew(self._now(), self._terms.lease_s)))
            except (ConflictError, NotFoundError):
                self._notice(read_lease(self._store, self._terms.batch))
        raise ConflictError(f"the lease of batch {self._terms.batch} keeps being changed by other clients")

    def _put(self, lease: Lease) -> None:
        asked_at = self._monotonic()
        content = lease.as_json()
        self._generation = self._store.put_control(
            self._terms.batch, names.LEASE, content, if_generation=self._generation
        )
        self._lease, self._renewed_at, self._was_taken = lease, asked_at, True

    def _notice(self, found: StoredLease | None) -> None:
        """Handle what is in the bucket now: our own last write, new deadlines, or another holder."""
        if self.state is LeaseState.TAKEN or (found is not None and found.generation == self._generation):
            return  # what was taken stays so, also when the new holder has ended the batch and removed the lease
        if found is None:
            self._lease, self.state = replace(self._lease, holder="", holder_id=""), LeaseState.REMOVED
            self._events.on_gone()
            return
        if not self._is_ours(found.lease):
            self._lease, self.state = found.lease, LeaseState.TAKEN
            self._events.on_lost(self._lease)
            return
        moved = found.lease.deadlines != self._lease.deadlines
        self._generation, self._lease = found.generation, found.lease
        if moved:
            self._events.on_change(self._lease)
