"""Planned faults: a list of steps, each with a time or an event at which its fault is armed or carried out.

A step is ``{"at": …, "fault": {…}}``. ``at`` is a number (s after the scenario was sent, by the cloud's clock), an
event (a regular expression, searched in lines such as ``request POST /compute/v1/…``), or ``{"event", "count", "after_s"}``:
``after_s`` seconds after the event has happened ``count`` times. Without ``at`` the step is carried out at once. Steps survive
a restart, as faults do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.emulator.compute import Lifecycle, Parts
from runner.emulator.faults import ACTS, GUEST_KINDS, check_fault, check_pattern
from runner.emulator.state import Alarms, Document
from runner.emulator.wire import api_errors

STEPS = "scenario/"
ALARM = "scenario"
STEP_FIELDS = frozenset({"at", "fault"})
EVENT_FIELDS = frozenset({"event", "count", "after_s"})


class Scenario:
    """Arms faults and carries out acts, now or when they are due. ``kill`` ends this process like SIGKILL."""

    def __init__(self, parts: Parts, lifecycle: Lifecycle, alarms: Alarms, *, kill: Callable[[], None]) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._alarms = alarms
        self._kill = kill
        self._waiting = dict(parts.store.items(STEPS))
        self._tasks: set[asyncio.Task[None]] = set()
        parts.faults.observer = self.see
        alarms.handle(ALARM, self._ring)

    def add(self, steps: Sequence[Any]) -> list[Document]:
        """Add steps, all or none, and return those that are still waiting.

        Raises:
            CloudError: 400, with the number of the invalid step.
        """
        checked = [_check_step(index, step) for index, step in enumerate(steps)]
        for step in checked:
            self._start(step)
        return self.waiting()

    def waiting(self) -> list[Document]:
        """Return the steps that are still waiting."""
        return list(self._waiting.values())

    def clear(self) -> int:
        """Remove the steps that are still waiting; return how many there were."""
        keys = list(self._waiting)
        for key in keys:
            self._forget(key)
        return len(keys)

    def begin(self, wanted: Mapping[str, Any]) -> Document:
        """Arm a fault, or carry out an act.

        Raises:
            CloudError: 400, it is invalid.
        """
        fault = check_fault(wanted)
        if fault["kind"] in ACTS:
            self._act(fault)
            return fault
        armed = self._parts.faults.add(wanted)
        if armed["kind"] in GUEST_KINDS:
            self._run(self._reach_running())
        return armed

    def see(self, event: str) -> None:
        """Count an event for the steps that wait for it, and carry out those that are due."""
        for key, step in list(self._waiting.items()):
            if step["event"] and re.search(step["event"], event):
                step["count"] -= 1
                if step["count"] > 0:
                    self._keep(key, step)
                else:
                    self._come_after(key, {**step, "event": ""})

    async def settle(self) -> None:
        """Wait for the effects that were begun on running instances."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, step: Document) -> None:
        key = STEPS + self._parts.store.next_id()
        if step["event"]:
            self._keep(key, step)
        else:
            self._come_after(key, step)

    def _come_after(self, key: str, step: Document) -> None:
        if step["after_s"] <= 0:
            self._forget(key)
            self.begin(step["fault"])
            return
        self._keep(key, step)
        self._alarms.arm(key, at=self._parts.clock.now() + step["after_s"], kind=ALARM, step=key)

    async def _ring(self, alarm: Document) -> None:
        step = self._waiting.get(alarm["step"])
        if step is not None:
            self._forget(alarm["step"])
            self.begin(step["fault"])

    def _act(self, fault: Document) -> None:
        if fault["kind"] == "kill":
            self._kill()
        elif fault["kind"] == "clock":
            self._parts.clock.advance(float(fault["jump_s"]))
        else:
            for key in self._running_spot(fault["match"])[: fault["times"]]:
                self._lifecycle.begin_preemption(key, notice_s=float(fault["notice_s"]))

    def _running_spot(self, pattern: str) -> list[str]:
        return [
            key
            for key, instance in self._instances()
            if instance["status"] == "RUNNING" and instance["scheduling"]["preemptible"] and re.search(pattern, key)
        ]

    async def _reach_running(self) -> None:
        for key, instance in self._instances():
            if instance["status"] == "RUNNING":
                await self._lifecycle.apply_guest_faults(key)

    def _instances(self) -> list[tuple[str, Document]]:
        found = self._parts.store.items(f"projects/{self._parts.settings.project}/zones/")
        return [(key, document) for key, document in found if document.get("kind") == "compute#instance"]

    def _keep(self, key: str, step: Document) -> None:
        self._waiting[key] = step
        self._parts.store.put(key, step)

    def _forget(self, key: str) -> None:
        self._waiting.pop(key, None)
        self._parts.store.delete(key)
        self._alarms.disarm(key)

    def _run(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_step(index: int, step: Any) -> Document:
    """Return a step with all its fields: ``event`` ('' for none), ``count``, ``after_s``, ``fault``."""
    where = f"step {index + 1}"
    if not isinstance(step, Mapping) or not isinstance(step.get("fault"), Mapping):
        raise api_errors.invalid(f"{where}: a step is a mapping with `at` and `fault`, and `fault` one with `kind`")
    if unknown := set(step) - STEP_FIELDS:
        raise api_errors.invalid(f"{where}: unknown {', '.join(sorted(map(str, unknown)))}; known: at, fault")
    try:
        check_fault(step["fault"])
        return {**_check_time(step.get("at", 0)), "fault": dict(step["fault"])}
    except Exception as error:
        raise api_errors.invalid(f"{where}: {error}") from error


def _check_time(at: Any) -> Document:
    if isinstance(at, (int, float)) and not isinstance(at, bool):
        return {"event": "", "count": 1, "after_s": float(at)}
    given = {"event": at} if isinstance(at, str) else at
    if not isinstance(given, Mapping) or not given.get("event") or set(given) - EVENT_FIELDS:
        raise api_errors.invalid(
            f"at: seconds, an event, or a mapping of {', '.join(sorted(EVENT_FIELDS))}; not {at!r}"
        )
    return {
        "event": check_pattern("at", given["event"]),
        "count": int(given.get("count", 1)),
        "after_s": float(given.get("after_s", 0.0)),
    }
