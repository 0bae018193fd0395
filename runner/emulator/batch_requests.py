"""Batches (``multipart/mixed`` of ``application/http``): each part is a request of its own, served by the application itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runner.emulator import refusals

#: A batch of Cloud Storage holds calls of its JSON API and nothing else, no batch either.
_SERVED = "/storage/v1/"
_KEPT_HEADERS = ("content-type", "etag", "vary")


@dataclass(frozen=True, kw_only=True)
class BatchPart:
    """``target``: path and query. ``content_id`` ties the answer to it."""

    content_id: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def read_batch_parts(content_type: str, body: bytes) -> Iterator[BatchPart]:
    """The parts of a batch, in order."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    for part in message.walk():
        if part.get_content_type() == "application/http":
            yield _read_part(str(part.get("Content-ID", "")), part.get_payload(decode=True))


def _read_part(content_id: str, raw: object) -> BatchPart:
    text = raw if isinstance(raw, bytes) else b""
    line, _, rest = text.lstrip().partition(b"\n")
    method, url = line.decode("ascii", errors="replace").split()[:2]
    inner = BytesParser().parsebytes(rest)
    payload = inner.get_payload(decode=True)
    parts = urlsplit(url)
    return BatchPart(
        content_id=content_id,
        method=method,
        target=parts.path + (f"?{parts.query}" if parts.query else ""),
        headers={name: value for name, value in inner.items() if name.lower() != "host"},
        body=payload.strip() if isinstance(payload, bytes) else b"",
    )


async def serve_batch(request: Request) -> Response:
    """Serve every part as the caller of the whole; one that is refused does not hurt the others.

    Raises:
        CloudError: it is no batch.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/mixed":
        raise refusals.wrong_content_type(content_type)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"caller": request.state.caller}
        await request.app(scope, receive, send)

    boundary = f"batch_{secrets.token_hex(16)}"
    answers: list[bytes] = []
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://batch", trust_env=False) as client:
        for part in read_batch_parts(content_type, await request.body()):
            answer = await _serve_part(client, part)
            answers.append(_write_part(boundary, part, answer))
    return Response(
        b"".join(answers) + f"--{boundary}--\r\n".encode(), media_type=f"multipart/mixed; boundary={boundary}"
    )


async def _serve_part(client: httpx.AsyncClient, part: BatchPart) -> httpx.Response:
    if not part.target.startswith(_SERVED):
        message = f"A batch of Cloud Storage cannot hold {part.method} {part.target}"
        return httpx.Response(404, json={"error": {"code": 404, "message": message}})
    return await client.request(part.method, part.target, headers=part.headers, content=part.body)


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
