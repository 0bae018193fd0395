"""Calls to the cloud's REST routes: retries, Google's error texts, operations."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import httpx

from runner.system.backoff import growing_delays

Answer = dict[str, Any]

_RETRIED = frozenset({429, 500, 502, 503})
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _ATTEMPTS = 0.25, 5.0, 12
_TIMEOUT = httpx.Timeout(30.0, read=300.0)


class ApiError(Exception):
    """Google Cloud API error, with the text of Google's Go client."""

    def __init__(self, status: int, error: Answer) -> None:
        self.status = int(error.get("code", status))
        self.message = str(error.get("message", ""))
        self.errors: list[Answer] = list(error.get("errors", []))
        self.reason = str(self.errors[0].get("reason", "")) if self.errors else ""
        super().__init__(self._words(error.get("details", [])))

    def _words(self, details: list[Answer]) -> str:
        words = f"googleapi: Error {self.status}: {self.message}"
        if details:
            words += f"\nDetails:\n{json.dumps(details, indent=2)}\n"
        if len(self.errors) == 1 and self.errors[0].get("message") == self.message:
            return f"{words}, {self.reason}"
        answered = [f"Reason: {error.get('reason', '')}, Message: {error.get('message', '')}" for error in self.errors]
        return "\n".join([words, "More details:", *answered]) if answered else words.strip()


class OperationError(Exception):
    """A long-running operation ended with errors; the text is the stock plugin's."""

    def __init__(self, errors: list[Answer]) -> None:
        self.codes = tuple(str(error.get("code", "")) for error in errors)
        super().__init__("".join(_describe(error) for error in errors))


def _describe(error: Answer) -> str:
    lines = [str(error.get("message", ""))]
    details = error.get("errorDetails", [])
    quota = next((detail["quotaInfo"] for detail in details if "quotaInfo" in detail), None)
    if error.get("code") == "QUOTA_EXCEEDED" and quota:
        return "\n".join([*lines, *_describe_quota(quota)]) + "\n"
    said: Answer = next((detail["localizedMessage"] for detail in details if "localizedMessage" in detail), {})
    links: list[Answer] = next((detail["help"].get("links", []) for detail in details if "help" in detail), [])
    if said.get("message"):
        lines += ["", said["message"]]
    if links:
        lines += ["", *(links[0][key] for key in ("description", "url") if links[0].get(key))]
    return "\n".join(lines) + "\n"


def _describe_quota(quota: Answer) -> list[str]:
    lines = [
        f"\tmetric name = {quota.get('metricName', '')}",
        f"\tlimit name = {quota.get('limitName', '')}",
        f"\tlimit = {quota.get('limit', 0):g}",
    ]
    if quota.get("dimensions"):
        where = " ".join(f"{key}:{value}" for key, value in sorted(quota["dimensions"].items()))
        lines.append(f"\tdimensions = map[{where}]")
    return lines


class Rest:
    """A client for all routes of one cloud, as the owner of ``token``. Thread-safe; ``close`` ends it and every pause."""

    def __init__(self, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(
            base_url=url, timeout=_TIMEOUT, headers=headers, transport=transport, trust_env=False
        )
        self._closed = threading.Event()

    def close(self) -> None:
        """Close the client."""
        self._closed.set()
        self._client.close()

    def call(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        """Send a request and return the JSON answer, or {}. ``path`` starts after the host, e.g. ``compute/v1/projects/p``.

        Raises ApiError. 429, 500, 502, 503 and lost connections are retried with growing pauses.
        """
        params = {"alt": "json", **(query or {})}
        if body is not None:
            more["json"] = body
        pauses_s = growing_delays(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                response = self._client.request(method, f"/{path}", params=params, **more)
            except (httpx.TransportError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not self._closed.is_set():  # else the client is closed: we stop
                    raise
                if last or self._closed.is_set():
                    raise ApiError(503, {"message": f"{method} /{path}: {error}"}) from error
            else:
                if response.status_code not in _RETRIED or last:
                    return _answer(response)
            self._closed.wait(next(pauses_s))
        raise AssertionError("unreachable")

    def get(self, path: str, **query: str) -> Answer:
        """GET."""
        return self.call("GET", path, query=query)

    def find(self, path: str, **query: str) -> Answer | None:
        """GET; return None if the resource does not exist."""
        try:
            return self.get(path, **query)
        except ApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def post(self, path: str, body: Any = None, **query: str) -> Answer:
        """POST."""
        return self.call("POST", path, body, query=query)

    def patch(self, path: str, body: Any, **query: str) -> Answer:
        """PATCH."""
        return self.call("PATCH", path, body, query=query)

    def delete(self, path: str, **query: str) -> Answer:
        """DELETE."""
        return self.call("DELETE", path, query=query)

    def remove(self, path: str, **query: str) -> Answer | None:
        """DELETE; return None if the resource did not exist."""
        try:
            return self.delete(path, **query)
        except ApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise


def _answer(response: httpx.Response) -> Answer:
    try:
        answered = response.json() if response.content else {}
    except ValueError:
        answered = {}
    if response.is_success:
        return dict(answered)
    error = answered.get("error") if isinstance(answered, dict) else None
    if not isinstance(error, dict):
        error = {"message": f"got HTTP response code {response.status_code} with body: {response.text}"}
    raise ApiError(response.status_code, error)
