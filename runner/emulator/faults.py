"""Faults that were asked for through the admin API: what there is, and whether one hits now.

A fault is a document ``{"id", "kind", "match", "times", …}``. ``match`` is a regular expression, searched in what the kind
says; ``times`` is how often it hits (null: always). New kinds need a line in ``KINDS`` and a place that asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.emulator import refusals
from runner.emulator.store import Document, Store

FAULTS = "faults/"
COMMON = frozenset({"kind", "match", "times"})


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """What ``match`` is searched in, and the fields with their defaults."""

    searched_in: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


KINDS: Mapping[str, FaultKind] = {
    "http": FaultKind(
        searched_in="METHOD /path of a request, which is then refused",
        defaults={"status": 503, "reason": "backendError", "message": "The service is currently unavailable."},
    ),
    "drop": FaultKind(
        searched_in="METHOD /path; the connection is cut before or after that many bytes of the answer",
        defaults={"after_bytes": 0},
    ),
    "delay": FaultKind(searched_in="METHOD /path", defaults={"delay_s": 1.0}),
    "quota": FaultKind(
        searched_in="path of an instance that is inserted or started",
        defaults={"metric": "PREEMPTIBLE_CPUS", "limit": 8.0, "form": "operation"},
    ),
    "stockout": FaultKind(
        searched_in="path of an instance that is inserted or started",
        defaults={"details": False, "zones_available": []},
    ),
    "slow_boot": FaultKind(searched_in="path of an instance; it stays in STAGING", defaults={"delay_s": 5.0}),
    "ssh_refused": FaultKind(
        searched_in="path of an instance that runs or boots; its SSH connections are closed as they come",
        defaults={"delay_s": 5.0},
    ),
    "ssh_cut": FaultKind(
        searched_in="path of an instance; its next SSH connection is lost after so many bytes",
        defaults={"after_bytes": 4096},
    ),
    "ssh_drop": FaultKind(searched_in="path of an instance; its SSH connections are lost now"),
    "preemption": FaultKind(
        searched_in="path of a spot instance; it is preempted so long after it is RUNNING",
        defaults={"after_s": 0.0, "notice_s": 30.0},
    ),
    "full_disk": FaultKind(searched_in="path of an instance; no file of it can grow", defaults={"full": True}),
    "iam_delay": FaultKind(searched_in="name of the resource whose policy is set", defaults={"delay_s": 5.0}),
    "slow_operation": FaultKind(
        searched_in="type and target of an operation: 'insert projects/…'", defaults={"delay_s": 5.0}
    ),
    "lost_operation": FaultKind(searched_in="type and target of an operation; the work is done, its record is gone"),
    "failed_operation": FaultKind(
        searched_in="type and target of an operation",
        defaults={"code": "INTERNAL_ERROR", "status": 500, "message": "Internal error. Please try again."},
    ),
}

#: Faults inside a machine: they are applied at once to machines that run, else at the next boot.
GUEST_KINDS = frozenset({"ssh_refused", "ssh_cut", "ssh_drop", "full_disk"})


class Faults:
    """The faults that are armed. They are in the store, so they outlive the process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._armed = dict(store.items(FAULTS))

    def add(self, wanted: Mapping[str, Any]) -> Document:
        """Arm one fault.

        Raises:
            CloudError: 400 for an unknown kind or field, or a ``match`` that is not a regular expression.
        """
        kind = KINDS.get(str(wanted.get("kind")))
        if kind is None:
            raise refusals.invalid(f"unknown kind of fault {wanted.get('kind')!r}; known: {', '.join(KINDS)}")
        if unknown := set(wanted) - COMMON - set(kind.defaults):
            raise refusals.invalid(f"a fault of kind {wanted['kind']!r} has no field {', '.join(sorted(unknown))}")
        try:
            re.compile(str(wanted.get("match", "")))
        except re.error as error:
            raise refusals.invalid(f"match is not a regular expression: {error}") from error
        fault = {"id": self._store.next_id(), "match": "", "times": 1, **kind.defaults, **wanted}
        self._keep(FAULTS + fault["id"], fault)
        return fault

    def list_armed(self) -> list[Document]:
        return list(self._armed.values())

    def remove(self, fault_id: str | None = None) -> int:
        """Disarm one, or all; the number of faults that were armed."""
        keys = [key for key in self._armed if fault_id is None or key == FAULTS + fault_id]
        for key in keys:
            self._drop(key)
        return len(keys)

    def hit(self, kind: str, text: str, **where: Any) -> Document | None:
        """The first fault of this kind that matches, and whose fields are as in ``where``; one of its times is used up."""
        for key, fault in self._armed.items():
            is_meant = fault["kind"] == kind and where.items() <= fault.items()
            if is_meant and re.search(fault["match"], text):
                self._use(key, fault)
                return fault
        return None

    def _use(self, key: str, fault: Document) -> None:
        if fault["times"] is None:
            return
        if fault["times"] <= 1:
            self._drop(key)
        else:
            self._keep(key, {**fault, "times": fault["times"] - 1})

    def _keep(self, key: str, fault: Document) -> None:
        self._armed[key] = fault
        self._store.put(key, fault)

    def _drop(self, key: str) -> None:
        del self._armed[key]
        self._store.delete(key)
