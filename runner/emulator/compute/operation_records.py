"""Compute operations: a record that clients poll, and the work behind it.

An operation is DONE when its work is. Records are in the store; work that a restart interrupted ends with an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runner.emulator.faults import Faults
from runner.emulator.state import Clock, Document, Store
from runner.emulator.wire import api_errors, compute_time, link, scope_of

KEPT_OPERATIONS = 5000
WAIT_LIMIT_S = 120.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The reason why the work of an operation failed, for its ``error``."""

    code: str
    message: str
    details: Sequence[Document] = ()
    http_status: int = 400
    http_message: str = "BAD REQUEST"


Work = Callable[[], Awaitable[Failure | None]]

INTERNAL = Failure(
    code="INTERNAL_ERROR",
    message="Internal error. Please try again or contact support.",
    http_status=500,
    http_message="INTERNAL SERVER ERROR",
)


def gone(key: str) -> Failure:
    """Return the failure of work that needs a resource which no longer exists."""
    return Failure(
        code="RESOURCE_NOT_FOUND",
        message=f"The resource '{key}' was not found",
        http_status=404,
        http_message="NOT FOUND",
    )


def failure_fields(failure: Failure) -> Document:
    first: Document = {"code": failure.code, "message": failure.message}
    if failure.details:
        first["errorDetails"] = list(failure.details)
    return {
        "error": {"errors": [first]},
        "httpErrorStatusCode": failure.http_status,
        "httpErrorMessage": failure.http_message,
    }


class Operations:
    """Starts work and keeps its records."""

    def __init__(self, store: Store, clock: Clock, faults: Faults) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(
        self, kind: str, target: str, *, user: str, work: Work | None = None, undo: Work | None = None, **more: Any
    ) -> Document:
        """Begin an operation on ``target`` (``projects/…``), with ``work`` in the background, and return its RUNNING record.

        ``undo`` reverts earlier changes (an insert's document) if the work fails. ``more`` goes into the record, e.g.
        ``statusMessage``.
        """
        self._faults.report(f"operation begun {kind} {target}")
        path, record = self._new_record(kind, target, user)
        record.update(status="RUNNING", progress=0, startTime=record["insertTime"], **more)
        self._store.put(path, record)
        self._running[path] = asyncio.create_task(self._run(path, f"{kind} {target}", work, undo))
        return record

    def note(self, kind: str, target: str, *, message: str) -> Document:
        """Record an action that the cloud took unasked, as a finished operation."""
        path, record = self._new_record(kind, target, "system")
        record.update(status="DONE", progress=100, startTime=record["insertTime"], endTime=record["insertTime"])
        record["statusMessage"] = message
        self._store.put(path, record)
        return record

    def get(self, path: str) -> Document:
        record = self._store.get(path)
        if record is None:
            raise api_errors.not_found(path)
        return record

    async def wait(self, path: str) -> Document:
        """Wait until the record is DONE, for Google's limit of two minutes at most, and return it."""
        self.get(path)
        if task := self._running.get(path):
            await asyncio.wait([task], timeout=WAIT_LIMIT_S)
        return self.get(path)

    async def settle(self) -> None:
        """Cancel all running work, at the end of the process."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _new_record(self, kind: str, target: str, user: str) -> tuple[str, Document]:
        number = self._store.next_id()
        scope, name = scope_of(target), f"operation-{number}"
        path = f"{scope}/operations/{name}"
        resource = self._store.get(target) or {}
        record: Document = {
            "kind": "compute#operation",
            "id": number,
            "name": name,
            "operationType": kind,
            "targetLink": link(target),
            "targetId": resource.get("id", self._store.next_id()),
            "user": user,
            "insertTime": compute_time(self._clock.now()),
            "selfLink": link(path),
        }
        where = scope.split("/")
        if where[2] in ("zones", "regions"):
            record[where[2][:-1]] = link(scope)
        return path, record

    async def _run(self, path: str, description: str, work: Work | None, undo: Work | None) -> None:
        try:
            if slow := self._faults.hit("slow_operation", description):
                await self._clock.sleep_until(self._clock.now() + slow["delay_s"])
            failure = await self._work(description, work)
            if failure and undo:
                await undo()
            self._finish(path, description, failure)
            self._faults.report(f"operation {'failed' if failure else 'done'} {description}")
        finally:
            self._running.pop(path, None)

    async def _work(self, description: str, work: Work | None) -> Failure | None:
        if fault := self._faults.hit("failed_operation", description):
            return Failure(
                code=fault["code"], message=fault["message"], http_status=fault["status"], http_message="ERROR"
            )
        try:
            return await work() if work else None
        except Exception:
            _log.exception("operation failed: %s", description)
            return INTERNAL

    def _finish(self, path: str, description: str, failure: Failure | None) -> None:
        if self._faults.hit("lost_operation", description):
            self._store.delete(path)
            return
        self.end(path, failure)

    def end(self, path: str, failure: Failure | None) -> None:
        """Mark a record DONE."""
        with self._store.edit(path) as record:
            record.update(status="DONE", progress=100, endTime=compute_time(self._clock.now()))
            record.update(failure_fields(failure) if failure else {})

    def forget_old(self, project: str) -> None:
        """Delete all but the newest records."""
        keys = [key for key, _ in self._store.items(f"projects/{project}/") if "/operations/" in key]
        for key in sorted(keys, key=lambda key: key.rsplit("-", 1)[1])[:-KEPT_OPERATIONS]:
            self._store.delete(key)
