"""A sweep: remove what a scope speaks of, go on after errors, look again, and say of each item what became of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby

from runner.core.estate import Estate, Findings, Unread
from runner.errors import HpcError
from runner.model.leftover import BILLED, ORDER, Item, Kind, Scope

ROUNDS = 3
AT_ONCE = 8
GUARDING = (Kind.CONTROL, Kind.STACK)  # what knows of VMs stays as long as one of them is there


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What became of one item: ``answer`` are the cloud's words, or why it is still there; ``at``: when."""

    item: Item
    is_gone: bool
    answer: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """The last removal of each item, what the last look still found, and what could not be looked at."""

    removals: tuple[Removal, ...]
    left: tuple[Item, ...]
    unread: tuple[Unread, ...]

    @property
    def is_clean(self) -> bool:
        """Was everything seen to be gone?"""
        return not self.left and not self.unread

    @property
    def items_left(self) -> list[str]:
        """What is still there, or may be, a text each."""
        return [*map(str, self.left), *(f"unknown, could not be read: {text}" for text in self.unread)]


def _ignore(removal: Removal) -> None:
    return None


def sweep(
    estate: Estate,
    scope: Scope,
    *,
    kinds: Collection[Kind] = tuple(Kind),
    tell: Callable[[Removal], None] = _ignore,
) -> SweepReport:
    """Remove all that ``scope`` takes of these kinds. What appears meanwhile (an insert that was on its way) is removed too.

    ``tell`` is called for each removal, in this thread.
    """
    removals: dict[object, Removal] = {}
    found = estate.find(kinds, scope.labels)
    for _ in range(ROUNDS):
        taken = _taken(scope, found, removals)
        if not taken:
            break
        done = list(_remove_all(estate, taken, tell))
        removals |= {removal.item.key: removal for removal in done}
        found = estate.find(kinds, scope.labels)
        if not any(removal.is_gone for removal in done):
            break
    return SweepReport(
        removals=tuple(removals.values()), left=tuple(_taken(scope, found, removals)), unread=found.unread
    )


def _taken(scope: Scope, found: Findings, removals: Collection[object]) -> list[Item]:
    """What the scope takes, and what it took before: a thing does not cease to be ours when what proved it is gone."""
    chosen = {choice.item.key for choice in scope.choose(found.items) if choice.is_taken}
    return [item for item in found.items if item.key in chosen or item.key in removals]


def _remove_all(estate: Estate, items: Iterable[Item], tell: Callable[[Removal], None]) -> Iterable[Removal]:
    """Kind after kind, several of a kind at once."""
    guarded: dict[str, Item] = {}
    ordered = sorted(items, key=lambda item: (ORDER[item.kind], item.key[1:]))
    for kind, group in groupby(ordered, key=lambda item: item.kind):
        free = []
        for item in group:
            if kind in GUARDING and item.purpose in guarded:
                removal = Removal(item=item, is_gone=False, answer=f"kept as long as {guarded[item.purpose]} is there")
                tell(removal)
                yield removal
            else:
                free.append(item)
        for removal in _remove_side_by_side(estate, free):
            if kind in BILLED and not removal.is_gone:
                guarded.setdefault(removal.item.purpose, removal.item)
            tell(removal)
            yield removal


def _remove_side_by_side(estate: Estate, items: Collection[Item]) -> Iterable[Removal]:
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sweep") as pool:
        for future in as_completed([pool.submit(_remove, estate, item) for item in items]):
            yield future.result()


def _remove(estate: Estate, item: Item) -> Removal:
    try:
        return Removal(item=item, is_gone=True, answer=estate.remove(item))
    except HpcError as error:
        return Removal(item=item, is_gone=False, answer=str(error))
