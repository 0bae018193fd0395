"""Faults armed through the admin API: their kinds, and whether one hits now.

A fault is a document ``{"id", "kind", "match", "times", …}``. ``match`` is a regular expression, searched in the text that
the kind names; ``times`` is how often it hits (null: always). A new kind needs a line in ``KINDS`` and code that calls ``hit``.
``ACTS`` are done once, at once, and never armed; ``scenario`` carries them out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.emulator.state import Document, Store
from runner.emulator.wire import api_errors

FAULTS = "faults/"
COMMON = frozenset({"kind", "match", "times"})


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """The text that ``match`` is searched in, the effect for a client, and the fields with their defaults."""

    searched_in: str
    effect: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


REQUEST = "`METHOD /path?query` of a request"
INSTANCE = "the path of an instance"
OPERATION = "type and target of an operation: `insert projects/…`"

KINDS: Mapping[str, FaultKind] = {
    "http": FaultKind(
        searched_in=REQUEST,
        effect="it fails with this status, reason and message: 429, 500, 503, 403…",
        defaults={
            "status": 503,
            "reason": "backendError",
            "message": "The service is currently unavailable.",
            "retry_after_s": 0,
        },
    ),
    "drop": FaultKind(
        searched_in=REQUEST,
        effect="the connection is cut instead of a response, or after `after_bytes` of the response's body",
        defaults={"after_bytes": 0},
    ),
    "drop_upload": FaultKind(
        searched_in=REQUEST,
        effect="the connection is cut once `after_bytes` of the request's body have arrived",
        defaults={"after_bytes": 65536},
    ),
    "delay": FaultKind(
        searched_in=REQUEST, effect="it is not handled before `delay_s` have passed", defaults={"delay_s": 1.0}
    ),
    "quota": FaultKind(
        searched_in=f"{INSTANCE} that is inserted or started",
        effect="QUOTA_EXCEEDED as the operation's error, or with `form: http` a 403 quotaExceeded",
        defaults={"metric": "PREEMPTIBLE_CPUS", "limit": 8.0, "form": "operation"},
    ),
    "stockout": FaultKind(
        searched_in=f"{INSTANCE} that is inserted or started",
        effect="ZONE_RESOURCE_POOL_EXHAUSTED, or with `details: true` …_WITH_DETAILS and zonesAvailable",
        defaults={"details": False, "zones_available": []},
    ),
    "slow_boot": FaultKind(searched_in=INSTANCE, effect="it stays in STAGING for `delay_s`", defaults={"delay_s": 5.0}),
    "ssh_refused": FaultKind(
        searched_in=f"{INSTANCE} that runs or boots",
        effect="for `delay_s` its new SSH connections are reset",
        defaults={"delay_s": 5.0},
    ),
    "ssh_cut": FaultKind(
        searched_in=INSTANCE,
        effect="its next SSH connection is lost after `after_bytes`, both directions together",
        defaults={"after_bytes": 4096},
    ),
    "ssh_drop": FaultKind(searched_in=INSTANCE, effect="its SSH connections are lost now"),
    "hang": FaultKind(
        searched_in=INSTANCE,
        effect="its processes are stopped, SSH does not respond, the cloud still reports RUNNING",
    ),
    "preemption": FaultKind(
        searched_in=f"{INSTANCE} that is a Spot VM and boots",
        effect="it is preempted `after_s` after it is RUNNING, with `notice_s` of notice",
        defaults={"after_s": 0.0, "notice_s": 30.0},
    ),
    "full_disk": FaultKind(searched_in=INSTANCE, effect="none of its files can grow", defaults={"full": True}),
    "iam_delay": FaultKind(
        searched_in="the name of the resource whose policy is set",
        effect="the previous policy stays in force for `delay_s`, as in IAM's caches",
        defaults={"delay_s": 5.0},
    ),
    "unreachable": FaultKind(
        searched_in="list and scope of an aggregated list: `instances zones/z`",
        effect="503; with returnPartialSuccess 200 without its resources, and the scope in `unreachables`",
    ),
    "partial_success": FaultKind(
        searched_in=f"{REQUEST} with returnPartialSuccess",
        effect="the parameter is accepted, as by Compute v1 until January 2026 and by its beta; otherwise it fails with 400",
    ),
    "slow_operation": FaultKind(
        searched_in=OPERATION, effect="it stays RUNNING for `delay_s` before its work begins", defaults={"delay_s": 5.0}
    ),
    "lost_operation": FaultKind(searched_in=OPERATION, effect="its work is done, but its record is gone: 404"),
    "failed_operation": FaultKind(
        searched_in=OPERATION,
        effect="its work is not done, and it ends with this error",
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
        searched_in=f"{INSTANCE} that is a Spot VM and runs",
        effect="it is preempted now, with `notice_s` of notice",
        defaults={"notice_s": 30.0},
    ),
}

#: Faults inside an instance: they apply at once to instances that run, and otherwise at the next boot.
GUEST_KINDS = frozenset({"ssh_refused", "ssh_cut", "ssh_drop", "full_disk", "hang"})


def check_fault(wanted: Mapping[str, Any]) -> Document:
    """Check a fault or act, and return it with all its fields.

    Raises:
        CloudError: 400, the kind or a field is unknown, or ``match`` is not a regular expression.
    """
    known = {**KINDS, **ACTS}
    kind = known.get(str(wanted.get("kind")))
    if kind is None:
        raise api_errors.invalid(f"unknown kind of fault {wanted.get('kind')!r}; known: {', '.join(known)}")
    if unknown := set(wanted) - COMMON - set(kind.defaults):
        raise api_errors.invalid(
            f"a fault of kind {wanted['kind']!r} has no field {', '.join(sorted(map(str, unknown)))}"
        )
    check_pattern("match", wanted.get("match", ""))
    return {"match": "", "times": 1, **kind.defaults, **wanted}


def check_pattern(field_name: str, text: object) -> str:
    """Return ``text`` if it is a regular expression.

    Raises:
        CloudError: 400, it is not one.
    """
    try:
        return re.compile(str(text)).pattern
    except re.error as error:
        raise api_errors.invalid(f"{field_name} is not a regular expression: {error}") from error


def _ignore(event: str) -> None:
    return None


class Faults:
    """The armed faults. They are in the store, so they survive a restart.

    ``observer`` is called with every event, one line each, before a fault is looked for: see ``report``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._armed = dict(store.items(FAULTS))
        self.observer: Callable[[str], None] = _ignore

    def report(self, event: str) -> None:
        """Report an event: ``request METHOD /path``, ``operation begun insert …``, ``instance … RUNNING``…"""
        self.observer(event)

    def add(self, wanted: Mapping[str, Any]) -> Document:
        """Arm one fault.

        Raises:
            CloudError: 400, the fault is not valid.
        """
        checked = check_fault(wanted)
        if checked["kind"] in ACTS:
            raise api_errors.invalid(f"{checked['kind']!r} is done at once and cannot be armed")
        fault = {"id": self._store.next_id(), **checked}
        self._keep(FAULTS + fault["id"], fault)
        return fault

    def list_armed(self) -> list[Document]:
        return list(self._armed.values())

    def remove(self, fault_id: str | None = None) -> int:
        """Disarm one fault, or all, and return how many were armed."""
        keys = [key for key in self._armed if fault_id is None or key == FAULTS + fault_id]
        for key in keys:
            self._drop(key)
        return len(keys)

    def hit(self, kind: str, text: str, **where: Any) -> Document | None:
        """Return the first fault of this kind that matches and has the fields ``where``, and count one hit."""
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
