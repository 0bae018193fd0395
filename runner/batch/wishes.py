"""The VMs that a batch requests at the moment, each with the zone and machine type where it is requested."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import replace

from runner.batch.stack import VMWish
from runner.model.stockout import Placement


class Wishes:
    """The wishes of one batch. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[str, VMWish] = {}

    def add(self, wishes: Iterable[VMWish]) -> None:
        """Request these, beside the others."""
        with self._lock:
            self._wanted.update({wish.name: wish for wish in wishes})

    def drop(self, name: str) -> None:
        """Stop requesting this one. Do nothing if it is not requested."""
        with self._lock:
            self._wanted.pop(name, None)

    def names(self) -> frozenset[str]:
        """Return the names of all."""
        with self._lock:
            return frozenset(self._wanted)

    def find(self, names: Iterable[str]) -> list[VMWish]:
        """Return the requested VMs among these."""
        with self._lock:
            return [self._wanted[name] for name in names if name in self._wanted]

    def date(self, expires: str) -> list[VMWish]:
        """Return all, each with its own end: ``expires`` for those without one. VMs that are created later have a later end."""
        with self._lock:
            for name, wish in self._wanted.items():
                self._wanted[name] = wish if wish.expires else replace(wish, expires=expires)
            return list(self._wanted.values())

    def move(self, names: Collection[str], placement: Placement) -> None:
        """Request these in another placement, and with a new end."""
        with self._lock:
            for name in names:
                if name in self._wanted:
                    wish = self._wanted[name]
                    self._wanted[name] = replace(
                        wish, zone=placement.zone, machine_type=placement.machine_type, expires=""
                    )
