"""Objects: the front receives the request, checks the bucket, the caller's rights and the preconditions, and passes it on.

From these checks until the object store is done, no other request can change that object.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from weakref import WeakValueDictionary

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runner.emulator.http import render_error, serve_batch
from runner.emulator.iam import Access, Caller
from runner.emulator.state import CloudSettings, Document, Store
from runner.emulator.storage.buckets import BUCKETS, POLICY_OWNER, no_bucket, storage_denied
from runner.emulator.storage.object_bodies import Body, name_upload, read_orders
from runner.emulator.storage.object_metadata import ObjectMetadata
from runner.emulator.storage.object_requests import Act, ObjectRequest, read_object_request
from runner.emulator.storage.object_store import ObjectStore, out_of_order
from runner.emulator.storage.upload_sessions import UploadSessions
from runner.emulator.wire import api_errors, read_json
from runner.errors import CloudError

Content = Body | bytes | None

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
        "expect",
        "authorization",
        "date",
        "server",
    }
)
#: Headers with which the object store would let every web page read its answers.
_NEVER_SHOWN = "access-control-"
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
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
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
            with Body(self._settings.state) as body:
                wanted, content = await self._take_in(request, wanted, body, caller)
                async with self._alone(wanted):
                    await self._check(caller, wanted)
                    own = await self._answer_ourselves(request, wanted)
                    return own or await self._forward(request, content, wanted, caller)
        except CloudError as error:
            return render_error(error, request.url.path, self._settings)

    async def _take_in(
        self, request: Request, wanted: ObjectRequest, body: Body, caller: Caller
    ) -> tuple[ObjectRequest, Content]:
        """Return the request with what its body adds, and the body to be passed on.

        No more of an upload is received once it is known that the caller may not do it.
        """
        if wanted.act in (Act.UPDATE, Act.COMPOSE, Act.COPY):
            return await read_orders(request, wanted)
        if wanted.act not in (Act.UPLOAD, Act.RESUME):
            return wanted, None
        pieces = request.stream()
        if not wanted.name:
            wanted = await name_upload(pieces, request.headers, wanted, body)
        self._check_rights(caller, wanted)
        async for piece in pieces:
            await body.add(piece)
        return wanted, body

    @asynccontextmanager
    async def _alone(self, wanted: ObjectRequest) -> AsyncIterator[None]:
        """Hold this object's lock inside; requests that only read wait for no lock."""
        if wanted.act in (Act.LIST, Act.READ):
            yield
            return
        lock = self._locks.setdefault((wanted.bucket, wanted.name), asyncio.Lock())
        async with lock:
            yield

    def _go_on(self, wanted: ObjectRequest) -> tuple[Caller, ObjectRequest]:
        """Return the upload's caller and object: those of the session, not of the request that sends this part."""
        upload_id = wanted.query["upload_id"]
        session = self._sessions.find(upload_id)
        if session is None or session.bucket != wanted.bucket:
            raise api_errors.missing("No such upload session.")
        query = {"uploadType": "resumable", "upload_id": upload_id, **session.conditions}
        return session.caller, replace(wanted, name=session.name, query=query)

    # ------------------------------------------------------------------ checks

    async def _check(self, caller: Caller, wanted: ObjectRequest) -> None:
        self._check_rights(caller, wanted)
        if wanted.act.writes and not caller.is_owner:
            await self._check_overwrite(caller, wanted)
        if wanted.act is not Act.LIST:
            await self._check_preconditions(wanted)

    def _check_rights(self, caller: Caller, wanted: ObjectRequest) -> None:
        """Check the rights that do not depend on the object store."""
        for bucket in {wanted.bucket, *(bucket for bucket, _ in wanted.sources)}:
            if self._store.get(BUCKETS + bucket) is None:
                raise no_bucket()
        for needed in wanted.permissions():
            self._require(caller, *needed)

    def _require(self, caller: Caller, permission: str, bucket: str, name: str) -> None:
        resource = f"projects/_/buckets/{bucket}/objects/{name}"
        if not self._access.allows(caller, permission, resource, owners=[POLICY_OWNER.format(bucket=bucket)]):
            raise storage_denied(caller.email, permission, "the Google Cloud Storage object")

    async def _check_overwrite(self, caller: Caller, wanted: ObjectRequest) -> None:
        """Check that the caller may delete the object that is to be replaced."""
        if await self._objects.object_document(wanted.bucket, wanted.name) is not None:
            self._require(caller, "storage.objects.delete", wanted.bucket, wanted.name)

    async def _check_preconditions(self, wanted: ObjectRequest) -> None:
        """Check preconditions, which the object store checks only in some kinds of requests."""
        asked = wanted.conditions
        if not asked:
            return
        found = await self._objects.object_document(wanted.bucket, wanted.name)
        if found is None and wanted.act is Act.READ:  # it does not exist, whatever was expected of it
            return
        found = {} if found is None else self._metadata.show(found)
        generation = str(found.get("generation", "0"))
        is_same = asked.get("ifGenerationMatch", generation) == generation
        metageneration = str(found.get("metageneration", ""))
        if not is_same or asked.get("ifMetagenerationMatch", metageneration) != metageneration:
            raise api_errors.condition_not_met("At least one of the pre-conditions you specified did not hold.")

    # ------------------------------------------------------------------ what the object store does not know

    async def _answer_ourselves(self, request: Request, wanted: ObjectRequest) -> Response | None:
        """Answer changes of metadata and requests for soft-deleted objects; return None for all other requests."""
        if request.method == "GET" and wanted.query.get("softDeleted") == "true":
            if wanted.act is Act.LIST:
                return JSONResponse(self._metadata.list_deleted(wanted.bucket, wanted.query))
            return JSONResponse(self._metadata.find_deleted(wanted.bucket, wanted.name, wanted.query))
        if wanted.act is not Act.UPDATE:
            return None
        found = await self._objects.object_document(wanted.bucket, wanted.name)
        if found is None:
            raise api_errors.missing(f"No such object: {wanted.bucket}/{wanted.name}")
        body = read_json(await request.body())
        return JSONResponse(self._metadata.change(found, body, is_whole=request.method == "PUT"))

    async def _to_be_kept(self, wanted: ObjectRequest) -> Document | None:
        """Return the object that is about to be deleted, if its bucket has soft deletion."""
        if wanted.act is not Act.DELETE or not self._metadata.keeps_deleted(wanted.bucket):
            return None
        return await self._objects.object_document(wanted.bucket, wanted.name)

    async def _show_changes(self, answer: httpx.Response) -> Response:
        """Answer with objects as the object store describes them, one or a list, with later changes of their metadata."""
        found_document = json.loads(await answer.aread())
        await answer.aclose()
        if "items" in found_document:
            found_document["items"] = [self._metadata.show(item) for item in found_document["items"]]
        return JSONResponse(
            self._metadata.show(found_document) if "generation" in found_document else found_document,
            answer.status_code,
        )

    # ------------------------------------------------------------------ streaming

    async def _forward(self, request: Request, content: Content, wanted: ObjectRequest, caller: Caller) -> Response:
        sent = self._build_request(request, content, wanted)
        gone = await self._to_be_kept(wanted)
        try:
            answer = await self._objects.client.send(sent, stream=True)
        except httpx.TransportError as error:
            raise out_of_order(repr(error)) from error
        if answer.status_code >= 400:
            return await self._render_refusal(answer, request, wanted)
        self._remember(answer, wanted, caller)
        if wanted.act is Act.DELETE:
            await answer.aclose()
            if gone is not None:
                self._metadata.delete(gone)
            return Response(status_code=204)
        if request.method == "GET" and wanted.returns_metadata and self._metadata.has_changes(wanted.bucket):
            return await self._show_changes(answer)
        return StreamingResponse(
            _stream(answer), status_code=answer.status_code, headers=shown_headers(answer, request)
        )

    def _build_request(self, request: Request, content: Content, wanted: ObjectRequest) -> httpx.Request:
        """Return the body for the object store: as long as it is, whatever length the caller declared."""
        url = httpx.URL(self._objects.url).copy_with(raw_path=wanted.target.encode())
        left_out = {*_HOP_BY_HOP, "content-length"}
        headers = [(name, value) for name, value in request.headers.items() if name not in left_out]
        if not isinstance(content, Body):
            return self._objects.client.build_request(request.method, url, headers=headers, content=content)
        headers.append(("content-length", str(content.size)))
        return self._objects.client.build_request(request.method, url, headers=headers, content=content.read())

    def _remember(self, answer: httpx.Response, wanted: ObjectRequest, caller: Caller) -> None:
        """Record that a resumable upload began or ended."""
        if wanted.act is Act.UPLOAD and wanted.query["uploadType"] == "resumable":
            upload_id = parse_qs(urlsplit(answer.headers["location"]).query)["upload_id"][0]
            self._sessions.begin(upload_id, caller, wanted)
        elif wanted.act is Act.RESUME and answer.status_code in _DONE and _GOES_ON not in answer.headers:
            self._sessions.end(wanted.query["upload_id"])

    async def _render_refusal(self, answer: httpx.Response, request: Request, wanted: ObjectRequest) -> Response:
        """Return the error with Google's message instead of the object store's."""
        message = self._objects.without_path(_message_of(await answer.aread()))
        await answer.aclose()
        if answer.status_code == 404:
            bucket, name = next(iter(wanted.sources), (wanted.bucket, wanted.name))
            error: CloudError = api_errors.missing(f"No such object: {bucket}/{name}")
        elif answer.status_code == 412:
            error = api_errors.condition_not_met("At least one of the pre-conditions you specified did not hold.")
        else:
            error = CloudError(message, reason=_REASONS.get(answer.status_code, "invalid"), status=answer.status_code)
        return render_error(error, request.url.path, self._settings)


_REASONS = {
    409: "conflict",
    416: "requestedRangeNotSatisfiable",
    500: "backendError",
    503: "backendError",
}


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return raw.decode("ascii", errors="replace").partition("?")[0]


def shown_headers(answer: httpx.Response, request: Request) -> dict[str, str]:
    """Return the headers for the client. An upload continues at our address, however the object store itself is reached."""
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


def _message_of(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip() or "Error"
