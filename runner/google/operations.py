"""Compute operations: wait until one is done, delete a resource and confirm that it is gone. One place for all kinds of resources."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from runner.errors import CloudError, NotFoundError, QuotaError, StockoutError
from runner.google.rest import Api, Json, segment
from runner.model.stockout import Quota, Stockout, read_failure

OPERATION_LIMIT_S = 15 * 60.0
GONE_LOOK_S = 1.0
GONE_ALREADY = "it was gone already"


class Operations:
    """Waits for operations of one project. Safe for several threads. Every call may raise CloudError."""

    def __init__(self, api: Api, project: str, *, limit_s: float = OPERATION_LIMIT_S) -> None:
        self._api = api
        self._project = f"projects/{segment(project)}"
        self._limit_s = limit_s

    def wait(self, operation: Json) -> Json:
        """Wait until an operation of any scope is done; return its record.

        Raises:
            StockoutError, QuotaError, CloudError: it ended with an error, or did not end in time.
            NotFoundError: its record is lost; the caller has to look at the resource.
        """
        path = f"{self._project}/{_scope(operation)}/operations/{segment(operation['name'])}"
        give_up_at = time.monotonic() + self._limit_s
        while operation.get("status") != "DONE":
            if time.monotonic() > give_up_at:
                raise CloudError(f"operation {operation['name']} is not done after {self._limit_s:.0f} s")
            operation = self._api.post(f"{path}/wait", is_idempotent=True)
        if (operation.get("error") or {}).get("errors"):
            raise operation_error(operation)
        return operation

    def delete(self, path: str) -> str:
        """Delete the resource at ``path`` (below the project), wait until it is gone, and return the cloud's answer in words.

        A resource that no longer exists is no error, nor is an operation whose record was lost: then the resource itself is read.
        """
        try:
            operation = self._api.delete(f"{self._project}/{path}")
        except NotFoundError:
            return GONE_ALREADY
        try:
            done = self.wait(operation)
        except NotFoundError:
            return self._see_gone(path)
        return f"{done['name']} done at {done.get('endTime', 'an unknown time')}"

    def _see_gone(self, path: str) -> str:
        give_up_at = time.monotonic() + self._limit_s
        while time.monotonic() < give_up_at:
            try:
                self._api.get(f"{self._project}/{path}")
            except NotFoundError:
                return "it no longer exists; the record of the operation was lost"
            time.sleep(GONE_LOOK_S)
        raise CloudError(f"{path} still exists, and the record of its deletion was lost")


def operation_error(operation: Mapping[str, Any]) -> CloudError:
    """Convert the error of an operation, with the cloud's own message and code."""
    errors = operation["error"]["errors"]
    message = "; ".join(str(item.get("message")) for item in errors)
    code, status = str(errors[0].get("code", "")), int(operation.get("httpErrorStatusCode", 0))
    failed = read_failure(operation)
    if failed is not None and isinstance(failed.refusal, Stockout):
        return StockoutError(message, reason=code, status=status, zones_available=failed.refusal.zones_available)
    if failed is not None and isinstance(failed.refusal, Quota):
        return QuotaError(message, reason=code, status=status, remedy="fewer or smaller VMs, or ask for more quota")
    return CloudError(message, reason=code, status=status)


def _scope(operation: Json) -> str:
    """``zones/z``, ``regions/r`` or ``global``."""
    for kind in ("zone", "region"):
        if kind in operation:
            return f"{kind}s/{operation[kind].rsplit('/', 1)[-1]}"
    return "global"
