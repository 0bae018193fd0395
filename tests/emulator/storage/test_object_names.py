"""Invalid names of objects: those of another bucket's objects, of files beside the objects, and other names of an object's file."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.emulator.batch_cloud import COPY, BatchCloud, multipart, open_batch_cloud
from tests.emulator.conftest import LIMIT_S, Json

NO_NAMES = (
    *("../elsewhere/secret", "../elsewhere/new", "x/../../elsewhere/secret", "../../cloud.sqlite", "../../../planted"),
    *(
        "./theirs",
        "x/../theirs",
        "/theirs",
        "//theirs",
        "theirs/",
        "theirs/.",
        "theirs/..",
        "a//b",
        "theirs\0",
        "/",
        ".",
    ),
)
NO_BUCKETS = (
    *("..", ".", "results%2F..%2Felsewhere", "..%2Fobjects%2Felsewhere", "results%2F", "results%00", "Results"),
    *("a..b", "x", "a" * 64),
)
_O = "/storage/v1/b/results/o"
_SOURCES = {"sourceObjects": [{"name": "mine"}]}
#: Method, path and body; ``NAME`` stands for the name, ``JSON`` for the name in JSON.
ROUTES: Mapping[str, tuple[str, str, Json]] = {
    "read": ("GET", f"{_O}/NAME?alt=media", {}),
    "look": ("GET", f"{_O}/NAME", {}),
    "head": ("HEAD", f"{_O}/NAME", {}),
    "download": ("GET", f"/download{_O}/NAME?alt=media", {}),
    "deleted": ("GET", f"{_O}/NAME?softDeleted=true&generation=1", {}),
    "delete": ("DELETE", f"{_O}/NAME", {}),
    "patch": ("PATCH", f"{_O}/NAME", {"json": {}}),
    "media": ("POST", f"/upload{_O}?uploadType=media&name=NAME", {"data": b"bad"}),
    "media, the other door": ("POST", f"/resumable/upload{_O}?uploadType=media&name=NAME", {"data": b"bad"}),
    "multipart": ("POST", f"/upload{_O}?uploadType=multipart&name=NAME", multipart("{}")),
    "multipart, named inside": ("POST", f"/upload{_O}?uploadType=multipart", multipart('{"name": JSON}')),
    "resumable": ("POST", f"/upload{_O}?uploadType=resumable&name=NAME", {}),
    "resumable, named inside": ("POST", f"/upload{_O}?uploadType=resumable", {"data": b'{"name": JSON}'}),
    "rewrite from": ("POST", COPY.format(source="results/o/NAME", target="results/o/new"), {"json": {}}),
    "rewrite to": ("POST", COPY.format(source="results/o/mine", target="results/o/NAME"), {"json": {}}),
    "copy to": ("POST", f"{_O}/mine/copyTo/b/results/o/NAME", {"json": {}}),
    "compose from": ("POST", f"{_O}/new/compose", {"json": {"sourceObjects": [{"name": "mine"}, {"name": "NAME"}]}}),
    "compose to": ("POST", f"{_O}/NAME/compose", {"json": _SOURCES}),
}


@pytest.fixture(scope="module")
def batch_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchCloud]:
    with open_batch_cloud(tmp_path_factory.mktemp("batch_cloud") / "state") as opened:
        yield opened


def send_raw(
    batch_cloud: BatchCloud, method: str, path: str, headers: Json, body: bytes | None = None
) -> tuple[int, bytes]:
    """Send a request without a client that normalises paths; return status and answer."""
    connection = http.client.HTTPConnection(batch_cloud.cloud.url.removeprefix("http://"), timeout=LIMIT_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def use_route(batch_cloud: BatchCloud, route: str, name: str, headers: Json) -> int:
    method, path, sent = ROUTES[route]
    told = sent.get("data", b"")
    headers = {**headers, "Content-Type": "application/json", **sent.get("headers", {})}
    if "json" in sent:
        told = json.dumps(sent["json"]).replace('"NAME"', "JSON").encode()
    body = told.replace(b"JSON", json.dumps(name).encode())
    return send_raw(batch_cloud, method, path.replace("NAME", quote(name, safe="")), headers, body or None)[0]


def files_of(batch_cloud: BatchCloud) -> set[Path]:
    """Return the files of all buckets' objects, and those in and beside the cloud's folder."""
    state = batch_cloud.cloud.settings.state
    return {*(state / "objects").rglob("*"), *state.iterdir(), *state.parent.iterdir()}


@pytest.mark.parametrize("route", ROUTES)
def test_no_route_accepts_an_invalid_object_name(batch_cloud: BatchCloud, route: str) -> None:
    """They are rejected for the owner too, whose mistakes would do the same damage."""
    before = files_of(batch_cloud)
    for headers in (batch_cloud.vm, batch_cloud.cloud.owner):
        found = {name: use_route(batch_cloud, route, name, headers) for name in NO_NAMES}
        assert found == dict.fromkeys(NO_NAMES, 400)
    assert files_of(batch_cloud) == before


@pytest.mark.parametrize("bucket", NO_BUCKETS)
def test_no_route_accepts_an_invalid_bucket_name(batch_cloud: BatchCloud, bucket: str) -> None:
    asked = [
        ("GET", f"/storage/v1/b/{bucket}/o"),
        ("GET", f"/storage/v1/b/{bucket}/o/secret"),
        ("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=new"),
        ("POST", COPY.format(source=f"{bucket}/o/secret", target="results/o/new")),
        ("POST", COPY.format(source="results/o/mine", target=f"{bucket}/o/new")),
    ]
    statuses = {send_raw(batch_cloud, *one, batch_cloud.cloud.owner)[0] for one in asked}
    assert statuses <= {400, 404}
    assert 400 in statuses


@pytest.mark.parametrize(
    "name", ["a...b", "..a", "a..", ".pulumi/stacks/x.json", "... /...", "a/.../b", "..%2Fa", "a\\..\\b"]
)
def test_names_that_only_look_invalid_are_accepted(batch_cloud: BatchCloud, name: str) -> None:
    path = f"{_O}/{quote(name, safe='')}"
    assert use_route(batch_cloud, "media", name, batch_cloud.vm) == 200
    assert send_raw(batch_cloud, "GET", f"{path}?alt=media", batch_cloud.vm) == (200, b"bad")
    assert send_raw(batch_cloud, "DELETE", path, batch_cloud.cloud.owner)[0] == 204


def test_a_source_has_one_name(batch_cloud: BatchCloud) -> None:
    """The object store would use the last one, in any spelling."""
    headers = {**batch_cloud.vm, "Content-Type": "application/json"}
    body = json.dumps(
        {"sourceObjects": [{"name": "mine", "Name": "../elsewhere/secret", "NAME": "../elsewhere/secret"}]}
    )
    assert send_raw(batch_cloud, "POST", f"{_O}/composed/compose", headers, body.encode())[0] == 200
    assert send_raw(batch_cloud, "GET", f"{_O}/composed?alt=media", batch_cloud.vm) == (200, b"kept")


@pytest.mark.parametrize("prefix", ["../elsewhere/", "../", "..", "/", "./", "x/../../elsewhere"])
def test_a_list_has_nothing_of_another_bucket(batch_cloud: BatchCloud, prefix: str) -> None:
    """A prefix is not a name: any is accepted, and the listed names begin with it."""
    status, answer = send_raw(batch_cloud, "GET", f"{_O}?prefix={quote(prefix, safe='')}&delimiter=%2F", batch_cloud.vm)
    listed: Any = json.loads(answer)
    assert (status, listed.get("items"), listed.get("prefixes")) == (200, None, None)


def test_an_error_does_not_reveal_the_folder_of_the_objects(batch_cloud: BatchCloud) -> None:
    assert use_route(batch_cloud, "media", "a/file", batch_cloud.vm) == 200
    for name, code, told in (("a/file/below", 500, b"not a directory"), ("n" * 1000, 400, b"file name too long")):
        path = f"/upload{_O}?uploadType=media&name={quote(name, safe='')}"
        status, answer = send_raw(batch_cloud, "POST", path, batch_cloud.vm, b"x")
        assert (status, told in answer, str(batch_cloud.cloud.settings.state).encode() in answer) == (code, True, False)
