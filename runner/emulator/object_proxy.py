"""Objects: the front checks the bucket, the caller's rights and the preconditions, then streams to the object store and back."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runner.emulator import refusals
from runner.emulator.access import Access
from runner.emulator.batch_requests import serve_batch
from runner.emulator.buckets import BUCKETS, POLICY_OWNER, no_bucket, storage_denied
from runner.emulator.object_metadata import ObjectMetadata
from runner.emulator.object_store import ObjectStore
from runner.emulator.settings import CloudSettings
from runner.emulator.store import Document, Store
from runner.emulator.transport import read_json, render_error
from runner.errors import CloudError

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "host",
        "authorization",
        "date",
        "server",
    }
)
_NAME_IN_BODY = re.compile(rb'"name"\s*:\s*"((?:[^"\\]|\\.)*)"')
_PEEKED_BYTES = 64 * 1024
_READS = {"GET": "storage.objects.get", "HEAD": "storage.objects.get"}
_WRITES = {
    "POST": "storage.objects.create",
    "PUT": "storage.objects.update",
    "PATCH": "storage.objects.update",
    "DELETE": "storage.objects.delete",
}


@dataclass(frozen=True, kw_only=True)
class ObjectRequest:
    """What is asked of which object. ``name`` is empty for a list; an upload names its object in the query or not at all."""

    method: str
    bucket: str
    name: str
    is_upload: bool
    query: Mapping[str, str]
    is_download: bool = False

    @property
    def tells_metadata(self) -> bool:
        """Whether the answer says what an object is, or several are, and not what is in it."""
        return self.method == "GET" and not self.is_download and self.query.get("alt") != "media"

    @property
    def permission(self) -> str:
        if self.is_upload:
            return "storage.objects.create"
        if not self.name:
            return "storage.objects.list"
        return {**_READS, **_WRITES}.get(self.method, "storage.objects.update")


def parse_object_request(method: str, raw_path: str, query: Mapping[str, str]) -> ObjectRequest | None:
    """None if the path is not one of an object or of a bucket's list of objects."""
    is_upload = "/upload/storage/v1/b/" in raw_path
    _, found, rest = raw_path.partition("/storage/v1/b/")
    bucket, _, below = rest.partition("/")
    if not found or not (below == "o" or below.startswith("o/")):
        return None
    name = unquote(below.removeprefix("o").removeprefix("/"))
    if is_upload:
        name = query.get("name", "")
    return ObjectRequest(
        method=method,
        bucket=unquote(bucket),
        name=name,
        is_upload=is_upload,
        query=query,
        is_download=raw_path.startswith("/download/"),
    )


class ObjectProxy:
    """``…/b/B/o…`` in all its forms."""

    def __init__(
        self, store: Store, access: Access, settings: CloudSettings, objects: ObjectStore, metadata: ObjectMetadata
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._access = access
        self._settings = settings
        self._objects = objects

    def routes(self) -> list[Route]:
        paths = (
            "/storage/v1/b/{bucket}/o",
            "/storage/v1/b/{bucket}/o/{name:path}",
            "/download/storage/v1/b/{bucket}/o/{name:path}",
            "/upload/storage/v1/b/{bucket}/o",
            "/resumable/upload/storage/v1/b/{bucket}/o",
            "/upload/resumable/{session}",
        )
        batch = Route("/batch/storage/v1", serve_batch, methods=["POST"])
        return [batch, *(Route(path, self._serve, methods=_METHODS) for path in paths)]

    async def _serve(self, request: Request) -> Response:
        try:
            wanted = parse_object_request(request.method, _raw_path(request), dict(request.query_params))
            body: AsyncIterator[bytes] = request.stream()
            if wanted is not None:
                await self._check(request, wanted)
                body = await self._check_named_in_body(request, wanted, body)
                if (own := await self._answer_ourselves(request, wanted)) is not None:
                    return own
            return await self._forward(request, body, wanted)
        except CloudError as error:
            return render_error(error, request.url.path, self._settings)

    # ------------------------------------------------------------------ checks

    async def _check(self, request: Request, wanted: ObjectRequest) -> None:
        if self._store.get(BUCKETS + wanted.bucket) is None:
            raise no_bucket()
        self._require(request, wanted, wanted.permission)
        goes_on = "upload_id" in wanted.query
        if not request.state.caller.is_owner and wanted.is_upload and wanted.name and not goes_on:
            await self._check_overwrite(request, wanted)
        if wanted.name and not goes_on:
            await self._check_preconditions(wanted)

    def _require(self, request: Request, wanted: ObjectRequest, permission: str) -> None:
        caller = request.state.caller
        resource = f"projects/_/buckets/{wanted.bucket}/objects/{wanted.name}"
        owners = [POLICY_OWNER.format(bucket=wanted.bucket)]
        if not self._access.allows(caller, permission, resource, owners=owners):
            raise storage_denied(caller.email, permission, "the Google Cloud Storage object")

    async def _check_named_in_body(
        self, request: Request, wanted: ObjectRequest, body: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Uploads may name their object at the start of their body; the body comes back whole."""
        goes_on = "upload_id" in wanted.query
        if request.state.caller.is_owner or not wanted.is_upload or wanted.name or goes_on:
            return body
        start = b""
        async for chunk in body:
            start += chunk
            if (found := _NAME_IN_BODY.search(start)) or len(start) > _PEEKED_BYTES:
                break
        if found := _NAME_IN_BODY.search(start):
            name = json.loads(b'"' + found.group(1) + b'"')
            await self._check_overwrite(request, replace(wanted, name=name))
        return _joined(start, body)

    async def _check_overwrite(self, request: Request, wanted: ObjectRequest) -> None:
        """To replace an object one must be allowed to delete it."""
        if await self._objects.object_document(wanted.bucket, wanted.name) is not None:
            self._require(request, wanted, "storage.objects.delete")

    async def _check_preconditions(self, wanted: ObjectRequest) -> None:
        """The object store looks at them in some kinds of requests only."""
        asked = {
            name: wanted.query[name] for name in ("ifGenerationMatch", "ifMetagenerationMatch") if name in wanted.query
        }
        if not asked:
            return
        found = await self._find(wanted)
        if found is None and wanted.method == "GET":  # it is not there, whatever was expected of it
            return
        found = found or {}
        generation = str(found.get("generation", "0"))
        is_same = asked.get("ifGenerationMatch", generation) == generation
        metageneration = str(found.get("metageneration", ""))
        if not is_same or asked.get("ifMetagenerationMatch", metageneration) != metageneration:
            raise refusals.condition_not_met("At least one of the pre-conditions you specified did not hold.")

    # ------------------------------------------------------------------ what the object store does not know

    async def _find(self, wanted: ObjectRequest) -> Document | None:
        found = await self._objects.object_document(wanted.bucket, wanted.name)
        return None if found is None else self._metadata.show(found)

    async def _answer_ourselves(self, request: Request, wanted: ObjectRequest) -> Response | None:
        """Changes of metadata, and looks at what was deleted softly; None for all else."""
        if wanted.method == "GET" and wanted.query.get("softDeleted") == "true":
            if not wanted.name:
                return JSONResponse(self._metadata.list_deleted(wanted.bucket, wanted.query))
            return JSONResponse(self._metadata.find_deleted(wanted.bucket, wanted.name, wanted.query))
        if wanted.method not in ("PATCH", "PUT") or wanted.is_upload or not wanted.name:
            return None
        found = await self._objects.object_document(wanted.bucket, wanted.name)
        if found is None:
            raise refusals.missing(f"No such object: {wanted.bucket}/{wanted.name}")
        body = read_json(await request.body())
        return JSONResponse(self._metadata.change(found, body, is_whole=wanted.method == "PUT"))

    async def _delete(self, request: Request, answer: httpx.Response, gone: Document | None) -> Response:
        await answer.aclose()
        if gone is not None:
            self._metadata.delete(gone)
        return Response(status_code=204)

    async def _show_changes(self, answer: httpx.Response) -> Response:
        """Objects as the object store tells them, one or a list, with what was changed of them since."""
        told = json.loads(await answer.aread())
        await answer.aclose()
        if "items" in told:
            told["items"] = [self._metadata.show(item) for item in told["items"]]
        return JSONResponse(self._metadata.show(told) if "generation" in told else told, answer.status_code)

    # ------------------------------------------------------------------ streaming

    async def _forward(self, request: Request, body: AsyncIterator[bytes], wanted: ObjectRequest | None) -> Response:
        url = httpx.URL(self._objects.url).copy_with(raw_path=_raw_target(request).encode())
        headers = [(name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP]
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        sent = self._objects.client.build_request(
            request.method, url, headers=headers, content=body if has_body else None
        )
        gone = None
        if request.method == "DELETE" and wanted is not None and self._metadata.keeps_deleted(wanted.bucket):
            gone = await self._objects.object_document(wanted.bucket, wanted.name)
        try:
            answer = await self._objects.client.send(sent, stream=True)
        except httpx.TransportError as error:
            raise CloudError(
                f"We encountered an internal error: {error!r}", reason="backendError", status=503
            ) from error
        if answer.status_code >= 400:
            return await self._render_refusal(answer, request, wanted)
        if request.method == "DELETE":
            return await self._delete(request, answer, gone)
        if wanted is not None and wanted.tells_metadata and self._metadata.has_changes(wanted.bucket):
            return await self._show_changes(answer)
        return StreamingResponse(_stream(answer), status_code=answer.status_code, headers=_kept_headers(answer))

    async def _render_refusal(self, answer: httpx.Response, request: Request, wanted: ObjectRequest | None) -> Response:
        """In Google's words; the object store has its own."""
        message = _message_of(await answer.aread())
        await answer.aclose()
        if answer.status_code == 404 and wanted is not None:
            error: CloudError = refusals.missing(f"No such object: {wanted.bucket}/{wanted.name}")
        elif answer.status_code == 412:
            error = refusals.condition_not_met("At least one of the pre-conditions you specified did not hold.")
        else:
            error = CloudError(message, reason=_REASONS.get(answer.status_code, "invalid"), status=answer.status_code)
        return render_error(error, request.url.path, self._settings)


_REASONS = {
    404: "notFound",
    409: "conflict",
    416: "requestedRangeNotSatisfiable",
    500: "backendError",
    503: "backendError",
}


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("ascii", errors="replace").partition("?")[0]


def _raw_target(request: Request) -> str:
    query = request.scope.get("query_string", b"").decode("ascii", errors="replace")
    return _raw_path(request) + (f"?{query}" if query else "")


def _kept_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}


async def _stream(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


async def _joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for chunk in rest:
        yield chunk


def _message_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "Error"
