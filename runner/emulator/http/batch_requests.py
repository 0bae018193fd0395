"""Batch requests (``multipart/mixed`` of ``application/http``): the application serves each part as a request of its own."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runner.emulator.wire import api_errors

#: A batch request of Cloud Storage may hold calls of its JSON API only, and no other batch.
_SERVED = "/storage/v1/"
_REQUEST_LINE = re.compile(r"(?P<method>[A-Z]+) +(?P<url>[!-~]+)(?: +HTTP/[0-9.]+)?")
#: Headers about the transport of the part itself; its length is that of the body that was read.
_TRANSPORT_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})
_KEPT_HEADERS = ("content-type", "etag", "vary")


@dataclass(frozen=True, kw_only=True)
class BatchPart:
    """One request of a batch. ``target``: path and query. ``content_id`` links the response to it."""

    content_id: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def read_batch_parts(content_type: str, body: bytes) -> list[BatchPart]:
    """Read the parts of a batch, in order.

    Raises:
        CloudError: a part cannot be read, or there is none.
    """
    try:
        message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        parts = message.get_payload() if message.is_multipart() else []
        read = [_read_part(part) for part in parts if isinstance(part, Message)]
    except (ValueError, LookupError, RecursionError) as error:
        raise api_errors.invalid(f"Failed to parse batch request, error: {error}.") from error
    if not read:
        raise api_errors.invalid("Failed to parse batch request, error: 0 items.")
    return read


def _read_part(part: Message) -> BatchPart:
    """Read one part; raise ValueError if it is not a request."""
    if part.get_content_type() != "application/http":
        raise ValueError(f"a part is of type {part.get_content_type()}")
    raw = part.get_payload(decode=True)
    line, _, rest = (raw if isinstance(raw, bytes) else b"").lstrip().partition(b"\n")
    found = _REQUEST_LINE.fullmatch(line.decode("ascii").strip())
    if found is None:
        raise ValueError("a part does not begin with a request line")
    inner = BytesParser().parsebytes(rest)
    payload = inner.get_payload(decode=True)
    url = urlsplit(found["url"])
    return BatchPart(
        content_id=_one_line(part.get("Content-ID", "")),
        method=found["method"],
        target=url.path + (f"?{url.query}" if url.query else ""),
        headers={name: _one_line(value) for name, value in inner.items() if name.lower() not in _TRANSPORT_HEADERS},
        body=payload.strip() if isinstance(payload, bytes) else b"",
    )


def _one_line(value: object) -> str:
    """Return a header's value as one line; raise ValueError if it is not printable ASCII."""
    text = " ".join(str(value).split())
    if not text.isascii() or not text.isprintable():
        raise ValueError("a header is not text")
    return text


async def serve_batch(request: Request) -> Response:
    """Serve every part in the name of the batch's caller; a part that fails does not affect the others.

    Raises:
        CloudError: it is not a batch, or a part cannot be read; then none is served.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/mixed":
        raise api_errors.wrong_content_type(content_type)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"caller": request.state.caller}
        await request.app(scope, receive, send)

    parts = read_batch_parts(content_type, await request.body())
    boundary = f"batch_{secrets.token_hex(16)}"
    answers: list[bytes] = []
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://batch", trust_env=False) as client:
        for part in parts:
            answer = await _serve_part(client, part)
            answers.append(_write_part(boundary, part, answer))
    return Response(
        b"".join(answers) + f"--{boundary}--\r\n".encode(), media_type=f"multipart/mixed; boundary={boundary}"
    )


async def _serve_part(client: httpx.AsyncClient, part: BatchPart) -> httpx.Response:
    if not part.target.startswith(_SERVED):
        return _refuse(404, f"A batch of Cloud Storage cannot hold {part.method} {part.target}")
    if _has_dot_segments(part.target):
        return _refuse(400, f"Invalid path: {part.target}")
    try:
        return await client.request(part.method, part.target, headers=part.headers, content=part.body)
    except httpx.InvalidURL as error:
        return _refuse(400, str(error))


def _has_dot_segments(target: str) -> bool:
    """Return whether our client would resolve ``.`` or ``..`` in the path, and so leave what a batch may hold."""
    return not {".", ".."}.isdisjoint(unquote(target.partition("?")[0]).split("/"))


def _refuse(status: int, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": status, "message": message}})


def _write_part(boundary: str, part: BatchPart, answer: httpx.Response) -> bytes:
    content_id = part.content_id.strip("<>")
    lines = [
        f"--{boundary}",
        "Content-Type: application/http",
        *([f"Content-ID: <response-{content_id}>"] if content_id else []),
        "",
        f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}",
        *(f"{name}: {answer.headers[name]}" for name in _KEPT_HEADERS if name in answer.headers),
        f"Content-Length: {len(answer.content)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + answer.content + b"\r\n"
