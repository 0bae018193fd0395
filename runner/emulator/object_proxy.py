"""Objects: the front checks the bucket, the caller's rights and the preconditions, then streams to the object store and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runner.emulator import refusals
from runner.emulator.access import Access, Caller
from runner.emulator.batch_requests import serve_batch
from runner.emulator.buckets import BUCKETS, POLICY_OWNER, no_bucket, storage_denied
from runner.emulator.object_metadata import ObjectMetadata
from runner.emulator.object_requests import Act, ObjectRequest, name_in_body, read_object_request, read_sources
from runner.emulator.object_store import ObjectStore
from runner.emulator.settings import CloudSettings
from runner.emulator.store import Document, Store
from runner.emulator.transport import render_error, require_json
from runner.emulator.upload_sessions import UploadSessions
from runner.emulator.wire import read_json
from runner.errors import CloudError

Body = AsyncIterator[bytes] | bytes | None

_O = "/storage/v1/b/{bucket}/o"
_READS = ("GET", "HEAD")
_UPLOADS = ("POST", "PUT")
_ROUTES = (
    (_O, ("GET",)),
    (_O + "/{name:path}", (*_READS, "POST", "PUT", "PATCH", "DELETE")),
    ("/download" + _O + "/{name:path}", _READS),
    ("/upload" + _O, _UPLOADS),
    ("/resumable/upload" + _O, _UPLOADS),
)
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
#: The object store would let every page read what it answers.
_NEVER_SHOWN = "access-control-"
_PEEKED_BYTES = 64 * 1024
_DONE = (200, 201)
_GOES_ON = "x-http-status-code-override"


class ObjectProxy:
    """``…/b/B/o…`` in all its forms."""

    def __init__(
        self,
        store: Store,
        access: Access,
        settings: CloudSettings,
        objects: ObjectStore,
        sessions: UploadSessions,
        metadata: ObjectMetadata,
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._access = access
        self._settings = settings
        self._objects = objects
        self._sessions = sessions

    def routes(self) -> list[Route]:
        batch = Route("/batch/storage/v1", self._serve_batch, methods=["POST"])
        return [batch, *(Route(path, self._serve, methods=list(methods)) for path, methods in _ROUTES)]

    async def _serve_batch(self, request: Request) -> Response:
        try:
            return await serve_batch(request)
        except CloudError as error:
            return render_error(error, request.url.path, self._settings)

    async def _serve(self, request: Request) -> Response:
        try:
            wanted = read_object_request(request.method, _raw_path(request), dict(request.query_params))
            caller: Caller = request.state.caller
            if wanted.act is Act.RESUME:
                caller, wanted = self._go_on(wanted)
            wanted, body = await _look_inside(request, wanted)
            await self._check(caller, wanted)
            if (own := await self._answer_ourselves(request, wanted)) is not None:
                return own
            return await self._forward(request, body, wanted, caller)
        except CloudError as error:
            return render_error(error, request.url.path, self._settings)

    def _go_on(self, wanted: ObjectRequest) -> tuple[Caller, ObjectRequest]:
        """Whose upload it is, and of what: the session says so, not who sends this part of it."""
        upload_id = wanted.query["upload_id"]
        session = self._sessions.find(upload_id)
        if session is None or session.bucket != wanted.bucket:
            raise refusals.missing("No such upload session.")
        query = {"uploadType": "resumable", "upload_id": upload_id}
        return session.caller, replace(wanted, name=session.name, query=query)

    # ------------------------------------------------------------------ checks

    async def _check(self, caller: Caller, wanted: ObjectRequest) -> None:
        for bucket in {wanted.bucket, *(bucket for bucket, _ in wanted.sources)}:
            if self._store.get(BUCKETS + bucket) is None:
                raise no_bucket()
        for needed in wanted.permissions():
            self._require(caller, *needed)
        if wanted.act.writes and not caller.is_owner:
            await self._check_overwrite(caller, wanted)
        if wanted.act not in (Act.LIST, Act.RESUME):
            await self._check_preconditions(wanted)

    def _require(self, caller: Caller, permission: str, bucket: str, name: str) -> None:
        resource = f"projects/_/buckets/{bucket}/objects/{name}"
        if not self._access.allows(caller, permission, resource, owners=[POLICY_OWNER.format(bucket=bucket)]):
            raise storage_denied(caller.email, permission, "the Google Cloud Storage object")

    async def _check_overwrite(self, caller: Caller, wanted: ObjectRequest) -> None:
        """To replace an object one must be allowed to delete it."""
        if await self._objects.object_document(wanted.bucket, wanted.name) is not None:
            self._require(caller, "storage.objects.delete", wanted.bucket, wanted.name)

    async def _check_preconditions(self, wanted: ObjectRequest) -> None:
        """The object store looks at them in some kinds of requests only."""
        asked = {
            name: wanted.query[name] for name in ("ifGenerationMatch", "ifMetagenerationMatch") if name in wanted.query
        }
        if not asked:
            return
        found = await self._objects.object_document(wanted.bucket, wanted.name)
        if found is None and wanted.act is Act.READ:  # it is not there, whatever was expected of it
            return
        found = {} if found is None else self._metadata.show(found)
        generation = str(found.get("generation", "0"))
        is_same = asked.get("ifGenerationMatch", generation) == generation
        metageneration = str(found.get("metageneration", ""))
        if not is_same or asked.get("ifMetagenerationMatch", metageneration) != metageneration:
            raise refusals.condition_not_met("At least one of the pre-conditions you specified did not hold.")

    # ------------------------------------------------------------------ what the object store does not know

    async def _answer_ourselves(self, request: Request, wanted: ObjectRequest) -> Response | None:
        """Changes of metadata, and looks at what was deleted softly; None for all else."""
        if request.method == "GET" and wanted.query.get("softDeleted") == "true":
            if wanted.act is Act.LIST:
                return JSONResponse(self._metadata.list_deleted(wanted.bucket, wanted.query))
            return JSONResponse(self._metadata.find_deleted(wanted.bucket, wanted.name, wanted.query))
        if wanted.act is not Act.UPDATE:
            return None
        found = await self._objects.object_document(wanted.bucket, wanted.name)
        if found is None:
            raise refusals.missing(f"No such object: {wanted.bucket}/{wanted.name}")
        body = read_json(await request.body())
        return JSONResponse(self._metadata.change(found, body, is_whole=request.method == "PUT"))

    async def _to_be_kept(self, wanted: ObjectRequest) -> Document | None:
        """What is about to be deleted, if its bucket deletes softly."""
        if wanted.act is not Act.DELETE or not self._metadata.keeps_deleted(wanted.bucket):
            return None
        return await self._objects.object_document(wanted.bucket, wanted.name)

    async def _show_changes(self, answer: httpx.Response) -> Response:
        """Objects as the object store tells them, one or a list, with what was changed of them since."""
        told = json.loads(await answer.aread())
        await answer.aclose()
        if "items" in told:
            told["items"] = [self._metadata.show(item) for item in told["items"]]
        return JSONResponse(self._metadata.show(told) if "generation" in told else told, answer.status_code)

    # ------------------------------------------------------------------ streaming

    async def _forward(self, request: Request, body: Body, wanted: ObjectRequest, caller: Caller) -> Response:
        url = httpx.URL(self._objects.url).copy_with(raw_path=wanted.target.encode())
        left_out = {*_HOP_BY_HOP, *({"content-length"} if isinstance(body, bytes) else ())}
        headers = [(name, value) for name, value in request.headers.items() if name not in left_out]
        sent = self._objects.client.build_request(request.method, url, headers=headers, content=body)
        gone = await self._to_be_kept(wanted)
        try:
            answer = await self._objects.client.send(sent, stream=True)
        except httpx.TransportError as error:
            raise CloudError(
                f"We encountered an internal error: {error!r}", reason="backendError", status=503
            ) from error
        if answer.status_code >= 400:
            return await self._render_refusal(answer, request, wanted)
        self._remember(answer, wanted, caller)
        if wanted.act is Act.DELETE:
            await answer.aclose()
            if gone is not None:
                self._metadata.delete(gone)
            return Response(status_code=204)
        if request.method == "GET" and wanted.tells_metadata and self._metadata.has_changes(wanted.bucket):
            return await self._show_changes(answer)
        return StreamingResponse(
            _stream(answer), status_code=answer.status_code, headers=shown_headers(answer, request)
        )

    def _remember(self, answer: httpx.Response, wanted: ObjectRequest, caller: Caller) -> None:
        """A resumable upload that began, or came to its end."""
        if wanted.act is Act.UPLOAD and wanted.query["uploadType"] == "resumable":
            upload_id = parse_qs(urlsplit(answer.headers["location"]).query)["upload_id"][0]
            self._sessions.begin(upload_id, caller, wanted.bucket, wanted.name)
        elif wanted.act is Act.RESUME and answer.status_code in _DONE and _GOES_ON not in answer.headers:
            self._sessions.end(wanted.query["upload_id"])

    async def _render_refusal(self, answer: httpx.Response, request: Request, wanted: ObjectRequest) -> Response:
        """In Google's words; the object store has its own."""
        message = self._objects.without_place(_message_of(await answer.aread()))
        await answer.aclose()
        if answer.status_code == 404:
            bucket, name = next(iter(wanted.sources), (wanted.bucket, wanted.name))
            error: CloudError = refusals.missing(f"No such object: {bucket}/{name}")
        elif answer.status_code == 412:
            error = refusals.condition_not_met("At least one of the pre-conditions you specified did not hold.")
        else:
            error = CloudError(message, reason=_REASONS.get(answer.status_code, "invalid"), status=answer.status_code)
        return render_error(error, request.url.path, self._settings)


_REASONS = {
    409: "conflict",
    416: "requestedRangeNotSatisfiable",
    500: "backendError",
    503: "backendError",
}


async def _look_inside(request: Request, wanted: ObjectRequest) -> tuple[ObjectRequest, Body]:
    """What the body adds to what is wanted; the body comes back whole."""
    if wanted.act in (Act.UPDATE, Act.COMPOSE, Act.COPY):
        told = await request.body()
        require_json(request.headers.get("content-type", ""), told)
        if wanted.act is Act.COMPOSE:
            sources, told = read_sources(told, wanted.bucket)
            return replace(wanted, sources=sources), told
        return wanted, told
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    body = request.stream() if has_body else None
    if wanted.act is Act.UPLOAD and not wanted.name:
        return await _named_by_body(request, wanted, body)
    return wanted, body


async def _named_by_body(
    request: Request, wanted: ObjectRequest, body: AsyncIterator[bytes] | None
) -> tuple[ObjectRequest, Body]:
    """Uploads may name their object at the start of their body."""
    start, name = b"", None
    content_type = request.headers.get("content-type", "")
    async for chunk in body if body is not None else _joined((), None):
        start += chunk
        name = name_in_body(wanted.query["uploadType"], content_type, start, is_whole=False)
        if name is not None or len(start) > _PEEKED_BYTES:
            break
    if name is None:
        name = name_in_body(wanted.query["uploadType"], content_type, start, is_whole=True)
    return replace(wanted, name=name or ""), None if body is None else _joined((start,), body)


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("ascii", errors="replace").partition("?")[0]


def shown_headers(answer: httpx.Response, request: Request) -> dict[str, str]:
    """What the client is shown. Where an upload goes on is here, however the object store itself is reached."""
    kept = {
        name: value
        for name, value in answer.headers.items()
        if name not in _HOP_BY_HOP and not name.startswith(_NEVER_SHOWN)
    }
    if "location" in kept:
        there = urlsplit(kept["location"])
        kept["location"] = f"{request.url.scheme}://{request.url.netloc}{there.path}?{there.query}"
    return kept


async def _stream(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


async def _joined(start: Sequence[bytes], rest: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    for chunk in start:
        yield chunk
    if rest is not None:
        async for chunk in rest:
            yield chunk


def _message_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "Error"
