"""Translates HTTP requests to calls: routes are data (``Rule``), handlers take a ``Call`` and return a value.

No handler sees a request or a response of the web framework, except the object proxy, which streams.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runner.emulator.iam import Access, Caller
from runner.emulator.state import REGIONS, CloudSettings, Document
from runner.emulator.wire import RequestIds, api_errors, check_fields, error_document, read_json
from runner.errors import CloudError

#: The connection was lost while a request was served: the response has no reader, and this is not a defect.
CLIENT_IS_GONE = (ClientDisconnect, ConnectionAbortedError)
PUBLIC_IMAGE_PROJECTS = ("cloud-hpc-image-public", "debian-cloud", "rocky-linux-cloud")

#: The name of a service account implies its project.
_FOR_ANY_PROJECT = re.compile(r"/iam/v1/projects/-/serviceAccounts/.")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One validated request: ``params`` from the path, ``body`` with known fields only.

    ``query`` has the last value of each name, ``repeated`` all of them.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Document
    caller: Caller
    repeated: Mapping[str, Sequence[str]]

    @property
    def project(self) -> str:
        return self.params["project"]

    @property
    def resource(self) -> str:
        """The resource that the path names, without the verb after it; for an insert, the resource to be created."""
        parts = self.path.split("/v1/", 1)[1].split(":")[0].split("/")
        if not self.path.startswith("/compute/"):
            return "/".join(parts)
        depth = 5 if len(parts) > 2 and parts[2] == "global" else 6
        named = [str(self.body["name"])] if len(parts) == depth - 1 and "name" in self.body else []
        return "/".join(parts[:depth] + named)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response other than a plain 200."""

    status: int
    body: Document | None = None


Act = Callable[[Call], Document | Answer | Awaitable[Document | Answer]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One route. ``fields``: what the body may contain (None: any JSON). ``permission``: required of service accounts.

    ``owners``: resources whose own policies count too, as format strings of the path parameters. ``owner_only``: no service
    account may call it.
    """

    method: str
    path: str
    act: Act
    permission: str = ""
    fields: Any = None
    owners: Sequence[str] = field(default=())
    owner_only: bool = False


def build_routes(
    rules: Sequence[Rule], access: Access, settings: CloudSettings, request_ids: RequestIds
) -> list[Route]:
    """Build the routes of the web framework, in the order of the rules."""
    return [Route(rule.path, _endpoint(rule, access, settings, request_ids), methods=[rule.method]) for rule in rules]


def _endpoint(
    rule: Rule, access: Access, settings: CloudSettings, request_ids: RequestIds
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            call = await _read_call(rule, request, settings)
            if rule.owner_only and not call.caller.is_owner:
                raise api_errors.forbidden("Only the owner of the embedded cloud may call this.")
            if rule.permission:
                owners = [owner.format(**call.params) for owner in rule.owners]
                access.require(call.caller, rule.permission, call.resource, owners=owners)
            if (known := request_ids.find(call.query)) is not None:
                return render(known)
            result = rule.act(call)
            answer = await result if inspect.isawaitable(result) else result
            request_ids.remember(call.query, answer)
        except CloudError as error:
            return render_error(error, request.url.path, settings)
        return render(answer)

    return serve


async def _read_call(rule: Rule, request: Request, settings: CloudSettings) -> Call:
    params = dict(request.path_params)
    path = request.url.path.rstrip("/")
    if params.get("project") == "-" and _FOR_ANY_PROJECT.match(path):
        path = path.replace("/projects/-/", f"/projects/{settings.project}/", 1)
        params["project"] = settings.project
    _check_scope(params, settings)
    if params.get("project") == settings.project_number:
        path = path.replace(f"projects/{settings.project_number}", f"projects/{settings.project}", 1)
        params["project"] = settings.project
    raw = await request.body()
    require_json(request.headers.get("content-type", ""), raw)
    body = read_json(raw)
    check_fields(body, rule.fields) if rule.fields is not None else None
    return Call(
        method=request.method,
        path=path,
        params=params,
        query=dict(request.query_params),
        repeated={name: request.query_params.getlist(name) for name in request.query_params},
        body=body,
        caller=request.state.caller,
    )


def require_json(content_type: str, body: bytes) -> None:
    """Raise CloudError if there is a body whose content type is not JSON."""
    if body.strip() and content_type.partition(";")[0].strip().lower() != "application/json":
        raise api_errors.wrong_content_type(content_type)


def _check_scope(params: Mapping[str, str], settings: CloudSettings) -> None:
    project = params.get("project", settings.project)
    if project not in (settings.project, settings.project_number, *PUBLIC_IMAGE_PROJECTS):
        raise api_errors.not_found(f"projects/{project}")
    if (zone := params.get("zone")) is not None and zone not in settings.zones:
        raise api_errors.invalid_field("zone", zone, "Unknown zone.")
    if (region := params.get("region")) is not None and region not in REGIONS:
        raise api_errors.invalid_field("region", region, "Unknown region.")


def render(answer: Document | Answer) -> Response:
    if not isinstance(answer, Answer):
        return JSONResponse(answer)
    if answer.body is None:
        return Response(status_code=answer.status)
    return JSONResponse(answer.body, status_code=answer.status)


def render_error(error: CloudError, path: str, settings: CloudSettings) -> Response:
    document = error_document(error, path=path, project_number=settings.project_number)
    return JSONResponse(document, status_code=error.status, headers=_challenge(error))


def _challenge(error: CloudError) -> Mapping[str, str]:
    """Return the header that HTTP requires with a 401, as Google writes it."""
    if error.status != 401:
        return {}
    detail = "" if error.reason == "required" else ', error="invalid_token"'
    return {"WWW-Authenticate": f'Bearer realm="https://accounts.google.com/"{detail}'}


def error_handlers(settings: CloudSettings) -> Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """Build the handlers for requests that no rule serves: unknown paths, and our own defects."""

    async def no_route(request: Request, problem: Exception) -> Response:
        status = problem.status_code if isinstance(problem, HTTPException) else 404
        error = CloudError(f"No such method: {request.method} {request.url.path}", reason="notFound", status=status)
        return render_error(error, request.url.path, settings)

    async def defect(request: Request, problem: Exception) -> Response:
        if not isinstance(problem, CLIENT_IS_GONE):
            _log.exception("%s %s failed", request.method, request.url.path, exc_info=problem)
        error = CloudError(f"Internal error: {problem!r}", reason="backendError", status=500)
        return render_error(error, request.url.path, settings)

    return {HTTPException: no_route, Exception: defect}
