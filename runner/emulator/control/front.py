"""The outermost layer: authentication (``door``), disabled APIs, and the faults that hit before a request is examined."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from runner.emulator.control.door import Door
from runner.emulator.faults import Faults
from runner.emulator.http import CLIENT_IS_GONE, render_error
from runner.emulator.identity import is_disabled
from runner.emulator.state import CloudSettings, Store
from runner.emulator.wire import api_errors
from runner.errors import CloudError

#: An aborted connection loses the data that the kernel has not accepted yet.
_FLUSH_S = 0.05

#: In none of the list methods of Compute v1's discovery document of 6 November 2026.
PARTIAL_SUCCESS = "returnPartialSuccess"

API_TITLES = {
    "compute": "Compute Engine API",
    "storage": "Cloud Storage API",
    "iam": "Identity and Access Management (IAM) API",
    "oslogin": "Cloud OS Login API",
    "cloudresourcemanager": "Cloud Resource Manager API",
}


class Front:
    """An ASGI layer around the application. No fault hits the admin API, nor a caller that is rejected."""

    def __init__(self, app: Starlette, *, store: Store, door: Door, faults: Faults, settings: CloudSettings) -> None:
        self._app = app
        self._store = store
        self._door = door
        self._faults = faults
        self._settings = settings

    def routes(self) -> list[tuple[str, str]]:
        """Return method and path of every route."""
        routes = [route for route in self._app.routes if isinstance(route, Route)]
        return [(method, route.path) for route in routes for method in sorted(route.methods or ())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            scope.setdefault("state", {})["caller"] = self._door.admit(*_asked(scope))
        except CloudError as error:
            await render_error(error, scope["path"], self._settings)(scope, receive, send)
            return
        try:
            await self._serve(scope, receive, send)
        except (
            asyncio.CancelledError
        ):  # the cloud ends, and no longer waits for this request: its client sees the connection cut
            await _drop(receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_admin = scope["path"].startswith("/_local/")
        what = f"{scope['method']} {_target(scope)}"
        if not is_admin:
            self._faults.report(f"request {what}")
            if fault := self._faults.hit("delay", what):
                await asyncio.sleep(fault["delay_s"])
            if (fault := self._faults.hit("drop", what)) and not fault["after_bytes"]:
                await _drop(receive, send)
                return
            connection = receive, send  # the server's own, which cut the connection
            if fault:
                send = _cutting(*connection, fault["after_bytes"])
            if fault := self._faults.hit("drop_upload", what):
                receive = _cutting_upload(*connection, fault["after_bytes"])
            send = self._telling(what, send)
        try:
            if not is_admin:
                self._refuse(scope, what)
        except CloudError as error:
            answer: Response = render_error(error, scope["path"], self._settings)
            if error.retry_after_s:
                answer.headers["Retry-After"] = f"{error.retry_after_s:.0f}"
            await answer(scope, receive, send)
            return
        with contextlib.suppress(*CLIENT_IS_GONE):
            await self._app(scope, receive, send)

    def _telling(self, what: str, send: Send) -> Send:
        """Return a ``send`` that reports the answer before the client gets it."""

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._faults.report(f"answer {message['status']} {what}")
            await send(message)

        return send_and_tell

    def _refuse(self, scope: Scope, what: str) -> None:
        if fault := self._faults.hit("http", what):
            refusal = CloudError(fault["message"], reason=fault["reason"], status=fault["status"])
            refusal.retry_after_s = float(fault.get("retry_after_s", 0))
            raise refusal
        api = scope["path"].split("/")[1]
        if api == "compute" and PARTIAL_SUCCESS in what and not self._faults.hit("partial_success", what):
            raise api_errors.unknown_parameter(PARTIAL_SUCCESS)
        if api in API_TITLES and is_disabled(self._store, f"{api}.googleapis.com"):
            raise api_errors.api_disabled(API_TITLES[api], f"{api}.googleapis.com", self._settings.project_number)


def _target(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("ascii", errors="replace")
    return str(scope["path"]) + (f"?{query}" if query else "")


def _asked(scope: Scope) -> tuple[dict[str, str], str, str]:
    """Return headers, path and query; if a header is sent twice, the first one counts."""
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in reversed(scope["headers"])}
    return headers, scope["path"], scope.get("query_string", b"").decode("latin-1")


async def _drop(receive: Receive, send: Send) -> None:
    """Cut the connection and wait until the server has noticed.

    ASGI has no way to say this: the server's ``send`` is a method of the object that holds the connection.
    """
    connection: Any = getattr(send, "__self__", None)
    connection.transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def _cutting_upload(receive: Receive, send: Send, after_bytes: int) -> Receive:
    """Return a ``receive`` that cuts the connection after this many bytes of the body; the reader gets an error."""
    left = after_bytes

    async def receive_and_cut() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] == "http.request" and left <= 0:
            await _drop(receive, send)
            return {"type": "http.disconnect"}
        return message

    return receive_and_cut


def _cutting(receive: Receive, send: Send, after_bytes: int) -> Send:
    """Return a ``send`` that cuts the connection after this many bytes of the body."""
    left = after_bytes

    async def send_and_cut(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            await send(message)
            return
        body = message.get("body", b"")
        await send({**message, "body": body[:left], "more_body": True})
        left -= len(body)
        if left <= 0 or not message.get("more_body"):
            await asyncio.sleep(_FLUSH_S)
            await _drop(receive, send)
            raise ConnectionAbortedError

    return send_and_cut
