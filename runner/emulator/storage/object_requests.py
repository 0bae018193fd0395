"""Requests about objects: paths and queries as values, and the one form in which they are passed on. Pure.

The object store behind us reads a request in its own way: it treats an encoded slash like a plain one, uses the first of two
equal parameters, and accepts names in the body in any case. So no request is passed on as it came: it is rebuilt from what was checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from enum import Enum, auto
from typing import Any
from urllib.parse import quote, unquote, urlencode

from runner.emulator.wire import api_errors, check_bucket_name, read_json

UPLOAD_TYPES = ("media", "multipart", "resumable")
_PATH = re.compile(
    r"(?P<door>/download|/upload|/resumable/upload)?/storage/v1/b/(?P<bucket>[^/]+)/o(?:/(?P<below>.*))?"
)
_COPY = re.compile(r"(?P<source>[^/]+)/(?P<verb>rewriteTo|copyTo)/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)")
_COMPOSE = re.compile(r"(?P<name>[^/]+)/compose")
_MOST_NAME_BYTES = 1024
#: Characters that UTF-8 cannot encode, and the one that ends a file name.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
#: Parts of a path that are empty, or lead to another folder than they seem to.
_NO_PARTS = frozenset({"", ".", ".."})
#: The fields of a compose request's source that are passed on; the object store would read a name in any spelling.
_OF_SOURCES = ("generation", "objectPreconditions")
_FIRST_PART = re.compile(rb"\r?\n\r?\n(?P<body>.*?)\r?\n--", re.DOTALL)


class Act(Enum):
    """The kinds of requests. ``RESUME`` continues a resumable upload; a copy may be a rewrite."""

    LIST = auto()
    READ = auto()
    UPDATE = auto()
    DELETE = auto()
    UPLOAD = auto()
    RESUME = auto()
    COMPOSE = auto()
    COPY = auto()

    @property
    def writes(self) -> bool:
        """Whether a whole object is written, which may replace an existing one."""
        return self in (Act.UPLOAD, Act.RESUME, Act.COMPOSE, Act.COPY)


@dataclass(frozen=True, kw_only=True)
class ObjectRequest:
    """``bucket`` and ``name`` are of the object that is read, changed or written (for a list, and for an upload whose name is still
    unknown, the name is empty); ``sources`` are the objects that are read for it, as bucket and name."""

    act: Act
    bucket: str
    name: str
    query: Mapping[str, str]
    door: str = ""
    sources: Sequence[tuple[str, str]] = field(default=())

    @property
    def returns_metadata(self) -> bool:
        """Whether the answer is the metadata of one or more objects, not their contents."""
        return self.act in (Act.LIST, Act.READ) and not self.door and self.query.get("alt") != "media"

    @property
    def conditions(self) -> dict[str, str]:
        """The preconditions on the existing object."""
        names = ("ifGenerationMatch", "ifMetagenerationMatch")
        return {name: self.query[name] for name in names if name in self.query}

    @property
    def target(self) -> str:
        """Path and query for the object store."""
        query = dict(self.query)
        if self.act in (Act.UPLOAD, Act.RESUME):
            query["name"] = self.name
        return self._path() + (f"?{urlencode(query, quote_via=quote)}" if query else "")

    def _path(self) -> str:
        objects = f"/storage/v1/b/{_encode(self.bucket)}/o"
        one = f"{objects}/{_encode(self.name)}"
        if self.act is Act.LIST:
            return objects
        if self.act in (Act.UPLOAD, Act.RESUME):
            return f"/upload{objects}"
        if self.act is Act.COMPOSE:
            return f"{one}/compose"
        if self.act is Act.COPY:
            bucket, name = self.sources[0]
            return f"/storage/v1/b/{_encode(bucket)}/o/{_encode(name)}/rewriteTo/b/{_encode(self.bucket)}/o/{_encode(self.name)}"
        return self.door + one

    def permissions(self) -> list[tuple[str, str, str]]:
        """Return the required permissions with bucket and object, except the one to delete an object that is overwritten."""
        reads = [("storage.objects.get", *source) for source in self.sources]
        word = {Act.LIST: "list", Act.READ: "get", Act.UPDATE: "update", Act.DELETE: "delete"}.get(self.act, "create")
        return [*reads, (f"storage.objects.{word}", self.bucket, self.name)]


def read_object_request(method: str, raw_path: str, query: Mapping[str, str]) -> ObjectRequest:
    """Parse a request about objects.

    Raises:
        NotFoundError: no such method exists.
        CloudError: the name is invalid.
    """
    found = _PATH.fullmatch(raw_path)
    if found is None:
        raise api_errors.missing(f"No such method: {method} {raw_path}")
    bucket, below, door = _bucket(found["bucket"]), found["below"] or "", found["door"] or ""
    request = ObjectRequest(act=Act.LIST, bucket=bucket, name="", query=query, door=door)
    if door.endswith("/upload"):
        return _upload(request)
    if method == "POST":
        return _whole_object(request, below, f"{method} {raw_path}")
    if not below:
        if method not in ("GET", "HEAD"):
            raise api_errors.missing(f"No such method: {method} {raw_path}")
        return request
    act = {"GET": Act.READ, "HEAD": Act.READ, "DELETE": Act.DELETE}.get(method, Act.UPDATE)
    return ObjectRequest(act=act, bucket=bucket, name=_decode(below), query=query, door=door)


def _upload(request: ObjectRequest) -> ObjectRequest:
    query = request.query
    act = Act.RESUME if "upload_id" in query else Act.UPLOAD
    if act is Act.UPLOAD and query.get("uploadType") not in UPLOAD_TYPES:
        raise api_errors.invalid(f"Invalid upload type: '{query.get('uploadType', '')}'.")
    name = _checked_name(query["name"]) if query.get("name") else ""
    return ObjectRequest(act=act, bucket=request.bucket, name=name, query=query, door=request.door)


def _whole_object(request: ObjectRequest, below: str, line: str) -> ObjectRequest:
    if found := _COMPOSE.fullmatch(below):
        name = _decode(found["name"])
        return ObjectRequest(act=Act.COMPOSE, bucket=request.bucket, name=name, query=request.query)
    if found := _COPY.fullmatch(below):
        return ObjectRequest(
            act=Act.COPY,
            bucket=_bucket(found["bucket"]),
            name=_decode(found["name"]),
            query=request.query,
            sources=[(request.bucket, _decode(found["source"]))],
        )
    raise api_errors.missing(f"No such method: {line}")


def read_sources(body: bytes, bucket: str) -> tuple[list[tuple[str, str]], bytes]:
    """Return the objects from which one is composed, and the body with nothing else in it."""
    asked = read_json(body)
    named = asked.get("sourceObjects")
    if not isinstance(named, list) or not all(isinstance(one, dict) and one.get("name") for one in named):
        raise api_errors.required("sourceObjects")
    names = [_checked_name(str(one["name"])) for one in named]
    known: dict[str, Any] = {key: asked[key] for key in ("kind", "destination") if key in asked}
    known["sourceObjects"] = [
        {"name": name, **{key: one[key] for key in _OF_SOURCES if key in one}}
        for name, one in zip(names, named, strict=True)
    ]
    return [(bucket, name) for name in names], json.dumps(known).encode()


def name_in_body(upload_type: str, content_type: str, start: bytes, *, is_whole: bool) -> str | None:
    """Return the object's name from the body of an upload; None if more of the body is needed.

    Raises:
        CloudError: the body has no name.
    """
    described: bytes | None = b""  # the body of a plain upload is its content
    if upload_type == "multipart":
        described = _first_part(content_type, start)
    elif upload_type == "resumable":
        described = start if is_whole else None
    if described is None and not is_whole:
        return None
    name = read_json(described or b"").get("name")
    if not isinstance(name, str) or not name:
        raise api_errors.required("name")
    return _checked_name(name)


def _first_part(content_type: str, start: bytes) -> bytes | None:
    """Return the body of the first part of a ``multipart/related``, if it is complete."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if boundary is None:
        return None
    _, opened, rest = start.partition(f"--{boundary}".encode())
    found = _FIRST_PART.search(rest) if opened else None
    return None if found is None else found["body"]


def _decode(written: str) -> str:
    """Return an object's name from a path."""
    return _checked_name(unquote(written))


def _bucket(written: str) -> str:
    """Return a bucket's name from a path."""
    return check_bucket_name(unquote(written))


def _checked_name(name: str) -> str:
    """Return the name unless it leads to another file.

    The object store keeps objects in files, below a folder for each bucket: ``../other/x`` would be an object of another bucket, and
    ``a//b`` or ``./a/b`` other names of ``a/b``, whose rights were not checked. Google accepts all of these but ``.`` and ``..``.

    Raises:
        CloudError: this cloud does not accept the name.
    """
    size = len(name.encode(errors="surrogatepass"))
    if _NO_PARTS.intersection(name.split("/")) or size > _MOST_NAME_BYTES or _NO_TEXT.search(name):
        raise api_errors.invalid(f"Invalid object name: {name!a}")
    return name


def _encode(name: str) -> str:
    return quote(name, safe="")
