"""Everything of ours in the cloud, found by labels and names, and its removal. It needs no record of what was created.

``Inventory`` is the seam: ``CloudInventory`` calls the cloud's APIs, ``DryInventory`` wraps another inventory and removes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.errors import CloudError, HpcError
from runner.model.leftover import Item, Kind


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A kind that could not be read, and why."""

    kind: Kind
    message: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found. ``unread``: kinds that could not be read; nothing is known about them."""

    items: tuple[Item, ...]
    unread: tuple[Unread, ...] = ()


class Inventory(Protocol):
    """All our resources in one project.

    ``find`` never raises CloudError: a kind that cannot be read is in ``unread``, and the others are still read.
    ``remove`` is idempotent (an item that is gone already is no error), waits until the item is gone, and returns the cloud's
    answer. It may be called from several threads.

    Raises (remove): HpcError, when the item still exists, or may.
    """

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        """Find the items of these kinds; where the cloud can filter by labels, only those with these labels."""

    def remove(self, item: Item) -> str:
        """Remove one item."""


class Part(Protocol):
    """The items of some kinds, all behind one API.

    Raises (both): HpcError.
    """

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that it lists and removes."""

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the items of one of its kinds."""

    def remove(self, item: Item) -> str:
        """See ``Inventory.remove``."""


class CloudInventory:
    """See ``Inventory``. Of kinds that no part has, nothing is found."""

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
            raise CloudError(f"resources of the kind {item.kind.value} cannot be removed")
        return part.remove(item)


class DryInventory:
    """An inventory for dry runs: it removes nothing, but no longer finds what would be gone."""

    def __init__(self, inside: Inventory) -> None:
        self._inside = inside
        self._removed: set[tuple[Kind, str, str]] = set()

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        """See ``Inventory.find``."""
        found = self._inside.find(kinds, labels)
        return Findings(items=tuple(item for item in found.items if item.key not in self._removed), unread=found.unread)

    def remove(self, item: Item) -> str:
        """Only record that it would be removed."""
        self._removed.add(item.key)
        return "nothing was done: a dry run"
