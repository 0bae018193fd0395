"""Everything of ours in the cloud, found by labels and names, and its removal. Needs no memory of what was created.

``Inventory`` is the seam: ``CloudInventory`` asks the cloud's APIs, ``DryInventory`` is around another one and removes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.errors import CloudError, HpcError
from runner.model.leftover import Item, Kind


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A kind that could not be looked at, and why."""

    kind: Kind
    message: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found. ``unread``: what could not be looked at; of that nothing is known."""

    items: tuple[Item, ...]
    unread: tuple[Unread, ...] = ()


class Inventory(Protocol):
    """All of ours in one project.

    ``find`` never raises CloudError: a kind that cannot be read is in ``unread``, and the others are read all the same.
    ``remove`` is idempotent (what is gone already is no error), waits until the item is gone, and says the cloud's answer in
    words. It may be called from several threads.

    Raises (remove): HpcError, when the item is still there or may be.
    """

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        """Find what there is of these kinds; where the cloud can filter by labels, only what bears these."""

    def remove(self, item: Item) -> str:
        """Remove one item."""


class Part(Protocol):
    """The items of some kinds, all behind one API.

    Raises (both): HpcError.
    """

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Its kinds."""

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the items of one of its kinds."""

    def remove(self, item: Item) -> str:
        """See ``Inventory.remove``."""


class CloudInventory:
    """See ``Inventory``. Kinds of which no part knows are not there."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = {kind: part for part in parts for kind in part.kinds}

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        """See ``Inventory.find``."""
        items: list[Item] = []
        unread: list[Unread] = []
        for kind in Kind:
            if kind not in kinds or kind not in self._parts:
                continue
            try:
                items.extend(self._parts[kind].list_items(kind, labels))
            except HpcError as error:
                unread.append(Unread(kind=kind, message=str(error)))
        return Findings(items=tuple(items), unread=tuple(unread))

    def remove(self, item: Item) -> str:
        """See ``Inventory.remove``."""
        part = self._parts.get(item.kind)
        if part is None:
            raise CloudError(f"there is no way to remove a resource of the kind {item.kind.value}")
        return part.remove(item)


class DryInventory:
    """An inventory of which nothing is removed: it looks like the one inside, minus what would be gone."""

    def __init__(self, inside: Inventory) -> None:
        self._inside = inside
        self._removed: set[tuple[Kind, str, str]] = set()

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        """See ``Inventory.find``."""
        found = self._inside.find(kinds, labels)
        return Findings(items=tuple(item for item in found.items if item.key not in self._removed), unread=found.unread)

    def remove(self, item: Item) -> str:
        """Only remember it."""
        self._removed.add(item.key)
        return "nothing was done: a dry run"
