"""Faults that were asked for through the admin API: what there is, and whether one hits now.

A fault is a document ``{"id", "kind", "match", "times", …}``. ``match`` is a regular expression, searched in what the kind
says; ``times`` is how often it hits (null: always). New kinds need a line in ``KINDS`` and a place that asks for them. What
is done once and at once, and never armed, is in ``ACTS``; ``scenario`` carries it out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.emulator.state import Document, Store
from runner.emulator.wire import refusals

FAULTS = "faults/"
COMMON = frozenset({"kind", "match", "times"})


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """What ``match`` is searched in, what a client sees, and the fields with their defaults."""

    searched_in: str
    effect: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


REQUEST = "`METHOD /path?query` of a request"
INSTANCE = "the path of an instance"
OPERATION = "type and target of an operation: `insert projects/…`"

KINDS: Mapping[str, FaultKind] = {
    "http": FaultKind(
        searched_in=REQUEST,
        effect="it is refused with this status, reason and message: 429, 500, 503, 403…",
        defaults={
            "status": 503,
            "reason": "backendError",
            "message": "The service is currently unavailable.",
            "retry_after_s": 0,
        },
    ),
    "drop": FaultKind(
        searched_in=REQUEST,
        effect="the connection is cut instead of an answer, or after so many bytes of its body",
        defaults={"after_bytes": 0},
    ),
    "drop_upload": FaultKind(
        searched_in=REQUEST,
        effect="the connection is cut once so many bytes of the request's body have come",
        defaults={"after_bytes": 65536},
    ),
    "delay": FaultKind(searched_in=REQUEST, effect="nothing is done with it for so long", defaults={"delay_s": 1.0}),
    "quota": FaultKind(
        searched_in=f"{INSTANCE} that is inserted or started",
        effect="QUOTA_EXCEEDED as the operation's error, or with form: http as a 403 quotaExceeded",
        defaults={"metric": "PREEMPTIBLE_CPUS", "limit": 8.0, "form": "operation"},
    ),
    "stockout": FaultKind(
        searched_in=f"{INSTANCE} that is inserted or started",
        effect="ZONE_RESOURCE_POOL_EXHAUSTED, or with details: true …_WITH_DETAILS and zonesAvailable",
        defaults={"details": False, "zones_available": []},
    ),
    "slow_boot": FaultKind(searched_in=INSTANCE, effect="it stays in STAGING for so long", defaults={"delay_s": 5.0}),
    "ssh_refused": FaultKind(
        searched_in=f"{INSTANCE} that runs or boots",
        effect="its SSH connections are reset as they come, for so long",
        defaults={"delay_s": 5.0},
    ),
    "ssh_cut": FaultKind(
        searched_in=INSTANCE,
        effect="its next SSH connection is lost after so many bytes, both ways together",
        defaults={"after_bytes": 4096},
    ),
    "ssh_drop": FaultKind(searched_in=INSTANCE, effect="its SSH connections are lost now"),
    "hang": FaultKind(
        searched_in=INSTANCE,
        effect="its processes stand still, SSH is silent, the cloud still says RUNNING",
    ),
    "preemption": FaultKind(
        searched_in=f"{INSTANCE} on spot terms that boots",
        effect="it is preempted so long after it is RUNNING, with so much notice",
        defaults={"after_s": 0.0, "notice_s": 30.0},
    ),
    "full_disk": FaultKind(searched_in=INSTANCE, effect="no file of it can grow", defaults={"full": True}),
    "iam_delay": FaultKind(
        searched_in="the name of the resource whose policy is set",
        effect="the policy of before stays in force for so long, as IAM's caches have it",
        defaults={"delay_s": 5.0},
    ),
    "unreachable": FaultKind(
        searched_in="list and scope of an aggregated list: `instances zones/z`",
        effect="503; with returnPartialSuccess 200 without what is there, named in `unreachables`",
    ),
    "partial_success": FaultKind(
        searched_in=f"{REQUEST} with returnPartialSuccess",
        effect="the parameter is taken, as by Compute v1 until January 2026 and by its beta; else it is refused with 400",
    ),
    "slow_operation": FaultKind(
        searched_in=OPERATION, effect="it stays RUNNING for so long before it is begun", defaults={"delay_s": 5.0}
    ),
    "lost_operation": FaultKind(searched_in=OPERATION, effect="the work is done, its record is gone: 404"),
    "failed_operation": FaultKind(
        searched_in=OPERATION,
        effect="nothing is done, and it ends with this error",
        defaults={"code": "INTERNAL_ERROR", "status": 500, "message": "Internal error. Please try again."},
    ),
}

#: Done once, at once; `match` and `times` mean nothing where `searched_in` is empty.
ACTS: Mapping[str, FaultKind] = {
    "kill": FaultKind(
        searched_in="", effect="the embedded cloud is killed (-9), and with it every process of its instances"
    ),
    "clock": FaultKind(searched_in="", effect="the cloud's clock jumps, forward or back", defaults={"jump_s": 3600.0}),
    "preempt": FaultKind(
        searched_in=f"{INSTANCE} on spot terms that runs",
        effect="it is preempted now, with so much notice",
        defaults={"notice_s": 30.0},
    ),
}

#: Faults inside a machine: they are applied at once to machines that run, else at the next boot.
GUEST_KINDS = frozenset({"ssh_refused", "ssh_cut", "ssh_drop", "full_disk", "hang"})


def check_fault(wanted: Mapping[str, Any]) -> Document:
    """A fault or act with all its fields.

    Raises:
        CloudError: 400 for an unknown kind or field, or a ``match`` that is not a regular expression.
    """
    known = {**KINDS, **ACTS}
    kind = known.get(str(wanted.get("kind")))
    if kind is None:
        raise refusals.invalid(f"unknown kind of fault {wanted.get('kind')!r}; known: {', '.join(known)}")
    if unknown := set(wanted) - COMMON - set(kind.defaults):
        raise refusals.invalid(
            f"a fault of kind {wanted['kind']!r} has no field {', '.join(sorted(map(str, unknown)))}"
        )
    check_pattern("match", wanted.get("match", ""))
    return {"match": "", "times": 1, **kind.defaults, **wanted}


def check_pattern(field_name: str, text: object) -> str:
    """``text`` if it is a regular expression.

    Raises:
        CloudError: 400, it is none.
    """
    try:
        return re.compile(str(text)).pattern
    except re.error as error:
        raise refusals.invalid(f"{field_name} is not a regular expression: {error}") from error


def _ignore(event: str) -> None:
    return None


class Faults:
    """The faults that are armed. They are in the store, so they outlive the process.

    ``witness`` hears of everything that happens, a line each, before a fault is looked for: see ``tell``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._armed = dict(store.items(FAULTS))
        self.witness: Callable[[str], None] = _ignore

    def tell(self, event: str) -> None:
        """Something happens: ``request METHOD /path``, ``operation begun insert …``, ``instance … RUNNING``…"""
        self.witness(event)

    def add(self, wanted: Mapping[str, Any]) -> Document:
        """Arm one fault.

        Raises:
            CloudError: 400, it cannot be understood.
        """
        checked = check_fault(wanted)
        if checked["kind"] in ACTS:
            raise refusals.invalid(f"{checked['kind']!r} is done at once and cannot be armed")
        fault = {"id": self._store.next_id(), **checked}
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
