"""``requestId``: a client that repeats a request (after a lost connection, say) gets the operation of the first one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from runner.emulator.state import Document, Store
from runner.emulator.wire import api_errors
from runner.emulator.wire.wire import relative

REQUESTS = "requests/"


class RequestIds:
    """Remembers the operation that each request started."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, query: Mapping[str, str]) -> Document | None:
        """Return the operation of this request in its current state, None if the request is new.

        Raises:
            CloudError: 400, the ID is not a UUID.
        """
        request_id = query.get("requestId")
        if request_id is None:
            return None
        _check(request_id)
        known = self._store.get(REQUESTS + request_id)
        return None if known is None else self._store.get(known["operation"])

    def remember(self, query: Mapping[str, str], answer: object) -> None:
        if "requestId" in query and isinstance(answer, dict) and answer.get("kind") == "compute#operation":
            self._store.put(REQUESTS + query["requestId"], {"operation": relative(answer["selfLink"])})


def _check(request_id: str) -> None:
    try:
        is_valid = uuid.UUID(request_id).int != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise api_errors.invalid_field("requestId", request_id, "Must be a valid UUID that is not zero.")
