"""A thin client of Google's REST APIs: one session, retries with a budget, Google's errors as ours.

Why not google-cloud-compute: its import alone takes 2.7 s, more than all else that a command does before its first line.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import requests

from runner.errors import (
    CloudError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    UnreachableError,
)
from runner.google.retry import RETRY_BUDGET_S, RetryPolicy
from runner.model.stockout import RATE_REASONS

__all__ = ["RETRY_BUDGET_S", "Api", "Endpoints", "Json", "cloud_error", "log_answers", "segment"]

_log = logging.getLogger(__name__)

Json = dict[str, Any]
NOT_JSON = "notJson"
PARTIAL_SUCCESS = "returnPartialSuccess"
NOTHING_HERE = "NO_RESULTS_ON_PAGE"
CHECK_NETWORK = "check the network, or `invoke local.status` for the embedded cloud"
LOGIN = "run `gcloud auth application-default login`"
REQUEST_TIMEOUT_S = (10.0, 130.0)  # connect, read; operations' `wait` answers within 120 s


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where each API is served; on the embedded cloud all below one address. Each ends without a slash."""

    compute: str = "https://compute.googleapis.com/compute/v1"
    oslogin: str = "https://oslogin.googleapis.com/v1"
    resource_manager: str = "https://cloudresourcemanager.googleapis.com/v1"
    iam: str = "https://iam.googleapis.com/v1"
    storage: str = "https://storage.googleapis.com"

    @classmethod
    def below(cls, url: str) -> Endpoints:
        """Return the endpoints of an embedded cloud at ``url``."""
        return cls(
            compute=f"{url}/compute/v1",
            oslogin=f"{url}/oslogin/v1",
            resource_manager=f"{url}/cloudresourcemanager/v1",
            iam=f"{url}/iam/v1",
            storage=url,
        )


class Api:
    """One REST API at ``base``. Safe for several threads if ``new_session`` creates a session for each.

    ``get`` and ``delete`` are idempotent and tried again on 429, 5xx and broken connections until the policy's budget is
    spent; ``post`` only on answers that say that nothing was done, unless the caller knows it to be idempotent.

    Raises (all calls):
        CloudError: the subclass that fits the status; ``reason`` is Google's word, the message holds Google's own.
    """

    def __init__(
        self, base: str, new_session: Callable[[], requests.Session], policy: RetryPolicy | None = None
    ) -> None:
        self.base = base
        self._new_session = new_session
        self._policy = policy or RetryPolicy()
        self._knows_partial_success = True

    def get(self, path: str, **params: str) -> Json:
        """Return the answer to a GET."""
        return self._call("GET", path, params=params, is_idempotent=True)[0]

    def get_dated(self, path: str, **params: str) -> tuple[Json, datetime]:
        """Return the answer to a GET, and the time on the server's clock, or on ours if the answer has none."""
        answer, date = self._call("GET", path, params=params, is_idempotent=True)
        return answer, _read_date(date) or datetime.now(UTC)

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, is_idempotent: bool = False, **params: str
    ) -> Json:
        """Return the answer to a POST."""
        return self._call("POST", path, params=params, body=dict(body or {}), is_idempotent=is_idempotent)[0]

    def delete(self, path: str, **params: str) -> Json:
        """Return the answer to a DELETE."""
        return self._call("DELETE", path, params=params, is_idempotent=True)[0]

    def items(self, path: str, **params: str) -> Iterator[Json]:
        """Yield all items of a list call, page by page."""
        for page in self.pages(path, **params):
            yield from page.get("items", [])

    def pages(self, path: str, **params: str) -> Iterator[Json]:
        """Yield the pages of a list call."""
        token = ""
        while True:
            page = self.get(path, **params, **({"pageToken": token} if token else {}))
            yield page
            token = str(page.get("nextPageToken", ""))
            if not token:
                return

    def whole_pages(self, path: str, **params: str) -> Iterator[Json]:
        """Yield the pages of an aggregated list, of which no zone or region may be missing.

        Google answers 200 without those that it cannot reach, whose content is then unknown.

        Raises:
            UnreachableError: some are missing; the message names them.
            CloudError: some are missing, where Google does not know of partial success.
        """
        for page in self.partial_pages(path, **params):
            if missing := _missing_scopes(page):
                raise UnreachableError(
                    f"GET {self.base}/{path}: Google cannot reach {', '.join(missing)} now",
                    remedy="try again in a few minutes",
                )
            yield page

    def partial_pages(self, path: str, **params: str) -> Iterator[Json]:
        """Yield the pages of an aggregated list, perhaps without what Google cannot reach.

        The current discovery document of Compute v1 does not declare the parameter that requests this; that of January did.

        Raises:
            CloudError: also if something cannot be reached and Google refuses to leave it out.
        """
        if self._knows_partial_success:
            pages = self.pages(path, **{PARTIAL_SUCCESS: "true"}, **params)
            try:
                first = next(pages)
            except CloudError as error:
                if error.status != 400 or PARTIAL_SUCCESS not in error.message:
                    raise
                self._knows_partial_success = False
            else:
                yield first
                yield from pages
                return
        yield from self.pages(path, **params)

    def _call(
        self,
        method: str,
        path: str,
        *,
        is_idempotent: bool,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> tuple[Json, str]:
        """Return the answer, and the server's ``Date``."""
        return self._policy.run(
            lambda: self._call_once(method, path, params=params, body=body), is_idempotent=is_idempotent
        )

    def _call_once(
        self, method: str, path: str, *, params: Mapping[str, str] | None, body: Json | None
    ) -> tuple[Json, str]:
        url, begun = f"{self.base}/{path}", time.monotonic()
        try:
            with self._new_session() as session:
                answer = session.request(method, url, params=params, json=body, timeout=REQUEST_TIMEOUT_S)
        except requests.RequestException as error:
            _log.info("%s %s: no answer, %.3f s: %s", method, url, time.monotonic() - begun, error)
            raise UnreachableError(f"{method} {url}: no answer: {error}", remedy=CHECK_NETWORK) from error
        except Exception as error:  # google.auth has its own tree of errors, loaded only when it is used
            if not type(error).__module__.startswith("google.auth"):
                raise
            raise _credentials_error(error, f"{method} {url}") from error
        _log.info("%s %s: %d, %.3f s", method, url, answer.status_code, time.monotonic() - begun)
        _log.debug("%s %s: asked with %s", method, url, dict(params or {}))
        if answer.status_code >= 400:
            refusal = cloud_error(answer.status_code, answer.text, f"{method} {url}")
            refusal.retry_after_s = _read_seconds(answer.headers.get("Retry-After", ""))
            raise refusal
        try:
            return dict(answer.json()) if answer.content else {}, answer.headers.get("Date", "")
        except (ValueError, TypeError) as error:
            message = f"{method} {url}: not an answer from Google: {answer.text[:200]!r}"
            raise CloudError(message, reason=NOT_JSON, status=answer.status_code) from error


def log_answers(session: requests.Session) -> requests.Session:
    """Log each answer that a session gets from other code, as ``Api`` does; return the session."""
    session.hooks["response"].append(_log_answer)
    return session


def _log_answer(answer: requests.Response, *_: Any, **__: Any) -> None:
    request = answer.request
    url = (request.url or "").partition("?")[0]
    _log.info("%s %s: %d, %.3f s", request.method, url, answer.status_code, answer.elapsed.total_seconds())


def cloud_error(status: int, text: str, what: str) -> CloudError:
    """Convert Google's error answer; the raw message is kept."""
    message, reason = _read_error(text)
    shown = f"{message or text[:500]} ({what}: {status}{', ' + reason if reason else ''})"
    if reason == "quotaExceeded":
        return QuotaError(shown, reason=reason, status=status, remedy="fewer or smaller VMs, or ask for more quota")
    if reason in RATE_REASONS:
        return CloudError(shown, reason=reason, status=status, remedy="try again in a minute")
    kinds: dict[int, type[CloudError]] = {
        401: PermissionDeniedError,
        403: PermissionDeniedError,
        404: NotFoundError,
        409: ConflictError,
        412: ConflictError,
    }
    remedy = {
        401: LOGIN,
        403: "ask an owner of the project for the permission that the message names",
    }.get(status, "")
    return kinds.get(status, CloudError)(shown, reason=reason, status=status, remedy=remedy)


def segment(text: str) -> str:
    """Quote ``text`` as one segment of a URL's path."""
    return quote(text, safe="@")


def _credentials_error(error: Exception, what: str) -> CloudError:
    """Convert an error of google.auth when it is asked for a token."""
    from google.auth.exceptions import TransportError

    if isinstance(error, TransportError):
        return UnreachableError(f"{what}: no answer to a request for a token: {error}", remedy=CHECK_NETWORK)
    return PermissionDeniedError(f"no Google credentials: {error}", remedy=LOGIN)


def _missing_scopes(page: Json) -> list[str]:
    """Return the scopes that Google reports as missing from a page of an aggregated list."""
    scopes = {scope: part.get("warning") for scope, part in page.get("items", {}).items()} | {
        "everything": page.get("warning")
    }
    warned = [
        f"{scope} ({warning.get('code', '')})"
        for scope, warning in scopes.items()
        if warning and warning.get("code") != NOTHING_HERE
    ]
    return [*map(str, page.get("unreachables", [])), *warned]


def _read_error(text: str) -> tuple[str, str]:
    """Return message and reason of Google's error JSON."""
    try:
        error = json.loads(text)["error"]
        reasons = [item.get("reason", "") for item in error.get("errors", [])]
        return str(error.get("message", "")), next(iter(reasons), str(error.get("status", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""


def _read_date(text: str) -> datetime | None:
    """Read a ``Date`` of HTTP, which is in UTC; None if there is none."""
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC)
    except ValueError:
        return None


def _read_seconds(text: str) -> float:
    """Read a ``Retry-After`` in seconds; ignore one that is a date."""
    return float(text) if text.isdecimal() else 0.0
