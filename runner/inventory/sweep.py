"""A sweep: remove what a scope takes, continue after errors, look again, and report what happened to each item."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby

from runner.errors import HpcError, LeftoverError, PermissionDeniedError
from runner.inventory.inventory import Findings, Inventory, Unread
from runner.model.lease import Lease
from runner.model.leftover import BILLED, ORDER, Choice, Item, Kind, Scope, find_watchers

ROUNDS = 3
AT_ONCE = 8
GUARDING = (Kind.CONTROL, Kind.STACK)  # records of VMs stay as long as one of the VMs exists


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What happened to one item. ``answer``: the cloud's answer, or why the item still exists; ``at``: when.

    ``is_refused``: the user may not remove it, and trying again does not change that.
    """

    item: Item
    is_gone: bool
    answer: str
    is_refused: bool = False
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """The last removal of each item, what the last look still found, and what could not be read.

    ``spared``: what was agreed to, but is not to be removed any more. ``appeared``: what is to be removed, but was not agreed to.
    """

    removals: tuple[Removal, ...]
    left: tuple[Item, ...]
    unread: tuple[Unread, ...]
    spared: tuple[Choice, ...] = ()
    appeared: tuple[Item, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether everything is known to be gone."""
        return not self.left and not self.unread

    @property
    def items_left(self) -> list[str]:
        """A text for each item that still exists, or may."""
        return [*map(str, self.left), *(f"unknown, could not be read: {text}" for text in self.unread)]


def leftover_error(title: str, report: SweepReport, *, remedy: str) -> LeftoverError:
    """Return the error that names what still exists, with the last answer to each removal. ``title``: of what it is a part."""
    answers = {str(removal.item): f"{removal.item}: {removal.answer}" for removal in report.removals}
    left = report.items_left
    shown = "; ".join(answers.get(text, text) for text in left)
    return LeftoverError(f"{title}: still there: {shown}", items=left, remedy=remedy)


def _ignore(removal: Removal) -> None:
    return None


def sweep(
    inventory: Inventory,
    scope: Scope,
    *,
    kinds: Collection[Kind] = tuple(Kind),
    report: Callable[[Removal], None] = _ignore,
) -> SweepReport:
    """Remove everything that ``scope`` takes of these kinds. What appears in the meantime (a pending insert) is removed too.

    ``report`` is called for each removal, in this thread.
    """
    removals: dict[object, Removal] = {}
    found = inventory.find(kinds, scope.labels)
    for _ in range(ROUNDS):
        taken = _taken(scope, found, removals)
        if not taken:
            break
        done = list(_remove_all(inventory, taken, report))
        removals |= {removal.item.key: removal for removal in done}
        found = inventory.find(kinds, scope.labels)
        if not any(removal.is_gone for removal in done):
            break
    return SweepReport(
        removals=tuple(removals.values()), left=tuple(_taken(scope, found, removals)), unread=found.unread
    )


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What the user was shown, and which of it may be removed: exactly these resources, not newer ones of the same name."""

    found: Findings
    items: tuple[Item, ...]


def sweep_agreed(
    inventory: Inventory,
    read_scope: Callable[[], Scope],
    agreement: Agreement,
    *,
    kinds: Collection[Kind],
    report: Callable[[Removal], None] = _ignore,
) -> SweepReport:
    """Remove what was agreed to, and nothing else. What a client uses by now is spared: ``read_scope`` is called at each look.

    A batch that is named is taken from the client that watched it when that was agreed to: its lease is removed first, else that
    client would continue, and create other VMs. Then it looks again, since another client may have taken the batch over.

    ``report`` is called for each removal, in this thread.
    """
    removals: dict[object, Removal] = {}
    look = _look(inventory, read_scope(), agreement, kinds, removals)
    if look.watches:
        removals |= {removal.item.key: removal for removal in _remove_all(inventory, look.watches, report)}
        look = _look(inventory, read_scope(), agreement, kinds, removals)
    for _ in range(ROUNDS):
        if not look.todo:
            break
        done = list(_remove_all(inventory, look.todo, report, kept=look.foreign))
        removals |= {removal.item.key: removal for removal in done}
        look = _look(inventory, read_scope(), agreement, kinds, removals)
        if not any(removal.is_gone for removal in done):
            break
    return SweepReport(
        removals=tuple(removals.values()),
        left=look.todo,
        unread=look.unread,
        spared=look.spared,
        appeared=look.appeared,
    )


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What exists by now. ``todo``: of what was agreed to; ``watches``: leases to remove before that. The others are as in
    ``SweepReport``.
    """

    watches: tuple[Item, ...]
    todo: tuple[Item, ...]
    spared: tuple[Choice, ...]
    appeared: tuple[Item, ...]
    unread: tuple[Unread, ...]

    @property
    def foreign(self) -> tuple[Item, ...]:
        """The items that stay."""
        return (*(choice.item for choice in self.spared), *self.appeared)


def _look(
    inventory: Inventory, scope: Scope, agreement: Agreement, kinds: Collection[Kind], removals: Collection[object]
) -> _Look:
    """Look again. A resource whose removal was tried still counts as ours when the proof of that is gone."""
    found = inventory.find(kinds, scope.labels)
    choices = {choice.item.key: choice for choice in scope.choose(found.items)}
    agreed = {item.key: item for item in agreement.items}
    before, now = find_watchers(agreement.found.items), find_watchers(found.items)
    came = {batch: lease.holder for batch, lease in now.items() if not _is_same_watch(before.get(batch), lease)}
    controls = [one for one in choices.values() if one.is_taken and one.item.kind is Kind.CONTROL]
    is_same = scope.batch in now and scope.batch not in came
    watches = [replace(one.item, kind=Kind.LEASE) for one in controls if is_same and one.item.key in agreed]
    todo, spared, appeared = list[Item](), list[Choice](), list[Item]()
    for item in found.items:
        choice, earlier = choices.get(item.key), agreed.get(item.key)
        is_taken = item.key in removals if choice is None else choice.is_taken
        if earlier is None or not item.is_still(earlier):
            appeared.extend([item] if choice is not None and choice.is_taken else [])
        elif item.purpose in came:
            spared.append(Choice(item=item, is_taken=False, reason=f"{came[item.purpose]} has been watching it since"))
        elif is_taken:
            todo.append(earlier)
        else:
            spared.append(choice or Choice(item=item, is_taken=False, reason="it is in use again"))
    return _Look(
        watches=tuple(watches),
        todo=tuple(todo),
        spared=tuple(spared),
        appeared=tuple(appeared),
        unread=found.unread,
    )


def _is_same_watch(before: Lease | None, now: Lease) -> bool:
    return before is not None and before.is_same_watch(now)


def _taken(scope: Scope, found: Findings, removals: Collection[object]) -> list[Item]:
    """Return what the scope takes, and what it took before: that still counts as ours when the proof of that is gone."""
    chosen = {choice.item.key for choice in scope.choose(found.items) if choice.is_taken}
    return [item for item in found.items if item.key in chosen or item.key in removals]


def _remove_all(
    inventory: Inventory, items: Iterable[Item], report: Callable[[Removal], None], *, kept: Iterable[Item] = ()
) -> Iterable[Removal]:
    """Remove kind after kind, several of a kind at once. ``kept``: what stays."""
    guarded = {item.purpose: item for item in kept if item.kind in BILLED}
    ordered = sorted(items, key=lambda item: (ORDER[item.kind], item.key[1:]))
    for kind, group in groupby(ordered, key=lambda item: item.kind):
        free = []
        for item in group:
            if kind in GUARDING and item.purpose in guarded:
                removal = Removal(item=item, is_gone=False, answer=f"kept as long as {guarded[item.purpose]} exists")
                report(removal)
                yield removal
            else:
                free.append(item)
        for removal in remove_items(inventory, free):
            if kind in BILLED and not removal.is_gone:
                guarded.setdefault(removal.item.purpose, removal.item)
            report(removal)
            yield removal


def remove_items(inventory: Inventory, items: Collection[Item]) -> Iterable[Removal]:
    """Remove these items, several at once, and yield what happened to each. An error with one does not stop the others."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sweep") as pool:
        for future in as_completed([pool.submit(_remove, inventory, item) for item in items]):
            yield future.result()


def _remove(inventory: Inventory, item: Item) -> Removal:
    try:
        return Removal(item=item, is_gone=True, answer=inventory.remove(item))
    except HpcError as error:
        is_refused = isinstance(error, PermissionDeniedError)
        return Removal(item=item, is_gone=False, answer=str(error), is_refused=is_refused)
    except Exception as error:  # a fault of ours with one item: the others still cost money
        return Removal(item=item, is_gone=False, answer=repr(error))
