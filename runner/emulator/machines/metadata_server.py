"""The metadata server of one instance: HTTP on the instance's own address, like Google's ``/computeMetadata/v1``.

Each instance has one listener in the emulator's event loop, with h11 for the protocol: a web framework would need memory for each.

At Google only the instance itself can reach it. Here every user of this computer can, and so can the pages in their
browsers: connections of other users are rejected, and so are requests that only browsers send.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from runner.emulator.iam import is_own_connection
from runner.emulator.machines import metadata_tree
from runner.emulator.machines.interface import Cloud
from runner.emulator.wire import refuse_foreign_names, refuse_web_pages
from runner.errors import CloudError, NotFoundError

ROOT = ("computeMetadata", "v1")
FLAVOR = ("Metadata-Flavor", "Google")
POLL_S = 0.1
MAX_WAIT_S = 3600.0
GUEST_ATTRIBUTE_LIMIT_BYTES = 256 * 1024
SWITCH_GUEST_ATTRIBUTES = "enable-guest-attributes"
_OTHER_USER = "This metadata server serves the processes of its own instance."


@dataclass(frozen=True, kw_only=True)
class Query:
    """One request."""

    method: str
    path: str
    options: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def segments(self) -> tuple[str, ...]:
        """The path in parts, without empty ones."""
        return tuple(part for part in self.path.split("/") if part)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response."""

    status: HTTPStatus = HTTPStatus.OK
    text: str = ""
    content_type: str = "application/text"
    headers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def etag(self) -> str:
        """A hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def error_answer(status: HTTPStatus, text: str) -> Answer:
    """Return an error response with one line of text."""
    return Answer(status=status, text=f"{text}\n", content_type="text/html; charset=UTF-8")


class MetadataServer:
    """Serves one instance, from ``start`` to ``close``, and only processes of the user ``uid`` (None: the current user)."""

    def __init__(self, *, key: str, address: str, cloud: Cloud, uid: int | None = None) -> None:
        self._key = key
        self._uid = uid
        self._address = address
        self._cloud = cloud
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> str:
        """``address:port``, for GCE_METADATA_HOST."""
        port = self._server.sockets[0].getsockname()[1]
        return f"{self._address}:{port}"

    async def start(self) -> None:
        """Listen on a port that the system chooses."""
        self._server = await asyncio.start_server(self._serve, self._address, 0)

    async def close(self) -> None:
        """Stop listening and drop every connection. Idempotent."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections.add(task)
        ends = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        is_own = is_own_connection(*ends, uid=self._uid)
        try:
            async for query, connection in read_queries(reader, writer):
                answer = await self.answer(query) if is_own else error_answer(HTTPStatus.FORBIDDEN, _OTHER_USER)
                await send_answer(connection, writer, query, answer)
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            pass  # cancelled by ``close``: asyncio's streams in some versions of Python 3.11 log such a connection as an error
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def answer(self, query: Query) -> Answer:
        """Answer one request."""
        try:
            refuse_foreign_names(query.headers.get("host", ""))
            refuse_web_pages(query.headers)
        except CloudError as error:
            return error_answer(HTTPStatus(error.status), error.message)
        if query.segments == ():
            return Answer(text="computeMetadata/\n")
        if query.headers.get(FLAVOR[0].lower()) != FLAVOR[1] or "x-forwarded-for" in query.headers:
            return error_answer(HTTPStatus.FORBIDDEN, f"Missing required header: {': '.join(FLAVOR)}")
        if query.segments[:2] != ROOT:
            return error_answer(HTTPStatus.NOT_FOUND, "The requested URL was not found on this server.")
        segments = query.segments[2:]
        if segments[:2] == ("instance", "guest-attributes"):
            return self._answer_guest_attribute(query, segments[2:])
        if query.method != "GET":
            return error_answer(HTTPStatus.METHOD_NOT_ALLOWED, f"{query.method} is not allowed here.")
        if query.options.get("wait_for_change", "").lower() == "true":
            return await self._wait_for_change(query)
        return self._look_up(query)

    async def _wait_for_change(self, query: Query) -> Answer:
        """Answer when the value differs from ``last_etag`` (or from the current value), or after the timeout."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + min(read_seconds(query.options.get("timeout_sec", "")), MAX_WAIT_S)
        answer = self._look_up(query)
        known = query.options.get("last_etag") or answer.etag
        while answer.etag == known and loop.time() < end_s:
            await asyncio.sleep(POLL_S)
            answer = self._look_up(query)
        return answer

    def _look_up(self, query: Query) -> Answer:
        segments = query.segments[2:]
        tree = self._cloud.metadata(self._key)
        if segments[:2] == ("instance", "service-accounts") and segments[3:] in (("token",), ("identity",)):
            return self._answer_token(tree, segments)
        return answer_node(tree, query, segments)

    def _answer_token(self, tree: Mapping[str, object], segments: tuple[str, ...]) -> Answer:
        try:
            metadata_tree.find_node(tree, segments[:3])
        except KeyError:
            return error_answer(HTTPStatus.NOT_FOUND, "The instance has no such service account.")
        if segments[3] == "identity":
            return error_answer(HTTPStatus.NOT_FOUND, "The embedded cloud issues no identity tokens.")
        try:
            token = self._cloud.access_token(self._key)
        except NotFoundError as error:
            return error_answer(HTTPStatus.NOT_FOUND, error.message)
        return Answer(text=json.dumps(dict(token)), content_type="application/json")

    def _answer_guest_attribute(self, query: Query, path: tuple[str, ...]) -> Answer:
        if not metadata_tree.is_true(metadata_tree.attribute(self._cloud.metadata(self._key), SWITCH_GUEST_ATTRIBUTES)):
            return error_answer(HTTPStatus.FORBIDDEN, "Guest attributes endpoint access is disabled.")
        if query.method == "GET":
            tree = {"guestAttributes": self._cloud.guest_attributes(self._key)}
            return answer_node(tree, query, ("guestAttributes", *path))
        if query.method not in {"PUT", "DELETE"} or len(path) != len(("namespace", "name")):
            return error_answer(HTTPStatus.METHOD_NOT_ALLOWED, f"{query.method} is not allowed here.")
        return self._change_guest_attribute(query, *path)

    def _change_guest_attribute(self, query: Query, namespace: str, name: str) -> Answer:
        if query.method == "DELETE":
            self._cloud.delete_guest_attribute(self._key, namespace, name)
        elif len(query.body) > GUEST_ATTRIBUTE_LIMIT_BYTES:
            return error_answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Guest attribute values are limited to 256 KiB.")
        else:
            self._cloud.set_guest_attribute(self._key, namespace, name, query.body.decode(errors="replace"))
        return Answer()


def answer_node(tree: object, query: Query, segments: tuple[str, ...]) -> Answer:
    """Answer with a leaf, a listing, or a whole subtree, as requested."""
    try:
        node = metadata_tree.find_node(tree, segments)
    except KeyError:
        return error_answer(HTTPStatus.NOT_FOUND, "The requested URL was not found on this server.")
    own = bool(segments) and segments[-1] in metadata_tree.OWN_NAMES
    inside = metadata_tree.children(node)
    recursive = query.options.get("recursive", "").lower() == "true"
    form = query.options.get("alt", "json" if recursive else "text")
    if inside is None and query.path.endswith("/"):
        return error_answer(HTTPStatus.NOT_FOUND, "The requested URL was not found on this server.")
    if form == "json":
        return Answer(text=metadata_tree.as_json(node, own=own), content_type="application/json")
    if inside is None:
        return Answer(text=metadata_tree.leaf_text(node))
    if recursive:
        return Answer(text=metadata_tree.as_text(node, own=own))
    if not query.path.endswith("/"):
        return Answer(status=HTTPStatus.MOVED_PERMANENTLY, headers=(("Location", f"{query.path}/"),))
    return Answer(text=metadata_tree.list_names(inside, own=own))


def read_seconds(text: str) -> float:
    """Read a timeout; without one, return the longest."""
    try:
        return float(text)
    except ValueError:
        return MAX_WAIT_S


async def read_queries(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[tuple[Query, h11.Connection]]:
    """Yield the requests of one connection; each must be answered before the next is read."""
    connection = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                informed = h11.InformationalResponse(status_code=100, headers=[])
                writer.write(connection.send(informed) or b"")
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            request, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            yield make_query(request, body), connection
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()
        else:
            return


def make_query(request: h11.Request, body: bytes) -> Query:
    """Convert a request of h11."""
    target = urlsplit(request.target.decode("latin-1"))
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}
    options = dict(parse_qsl(target.query, keep_blank_values=True))
    return Query(method=request.method.decode(), path=unquote(target.path), options=options, headers=headers, body=body)


async def send_answer(connection: h11.Connection, writer: asyncio.StreamWriter, query: Query, answer: Answer) -> None:
    """Write one response, with the flavor header by which clients recognise a metadata server."""
    body = answer.text.encode()
    headers = [
        FLAVOR,
        ("Server", "Metadata Server for VM"),
        ("Content-Type", answer.content_type),
        ("ETag", answer.etag),
    ]
    headers += [("Content-Length", str(len(body))), *answer.headers]
    reason = answer.status.phrase.encode()
    response = h11.Response(status_code=int(answer.status), headers=headers, reason=reason)
    sent = [response, *([h11.Data(data=body)] if query.method != "HEAD" else []), h11.EndOfMessage()]
    writer.write(b"".join(connection.send(event) or b"" for event in sent))
    await writer.drain()
