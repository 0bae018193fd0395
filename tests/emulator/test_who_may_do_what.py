"""Access as a table: callers against every route of the server. ``VM_MAY`` lists what a VM may do; everything else is
forbidden, so that a new route is closed to VMs or fails here, and a route of a new API fails until it has a kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests

from tests.emulator.batch_cloud import COPY, EMAIL, IAM, OWN_VM, BatchCloud, multipart, open_batch_cloud
from tests.emulator.conftest import Json

#: The first part of a path: an API of Google's, or one of ours.
KINDS = frozenset(
    {
        *("_local", "batch", "cloudbilling", "cloudresourcemanager", "compute", "download", "iam", "oslogin"),
        *("resumable", "serviceusage", "storage", "upload"),
    }
)

_O = "/storage/v1/b/{bucket}/o"
_V1 = "/compute/v1/projects/{project}"
#: What the service account of a batch's VMs may ask, with the rights that the stack ``base`` gives it.
VM_MAY = {
    ("POST", "/batch/storage/v1"): "each part is checked by itself",
    ("GET", _O): "read what is in the bucket",
    ("GET", _O + "/{name:path}"): "read what is in the bucket",
    ("GET", "/download" + _O + "/{name:path}"): "read what is in the bucket",
    ("POST", "/upload" + _O): "make a new object",
    ("POST", "/resumable/upload" + _O): "make a new object",
    ("PUT", "/upload" + _O): "go on with an upload: its URI says whose",
    ("PUT", "/resumable/upload" + _O): "go on with an upload: its URI says whose",
    ("POST", _O + "/{name:path}"): "no such method without a verb behind the name",
    ("GET", "/storage/v1/b/{bucket}/storageLayout"): "goes with the right to list",
    ("GET", "/storage/v1/b/{bucket}/iam/testPermissions"): "query one's own rights",
    ("POST", _V1 + "/zones/{zone}/instances/{name}/testIamPermissions"): "query one's own rights",
    ("POST", IAM.replace("local-project", "{project}") + "/serviceAccounts/{email}:testIamPermissions"): "the same",
    ("POST", "/cloudresourcemanager/v1/projects/{project}:testIamPermissions"): "the same",
    ("GET", "/iam/v1/roles"): "Google's own roles are public",
    ("GET", "/iam/v1/roles/{role}"): "the same",
    ("GET", "/serviceusage/v1/operations/{name}"): "reports only that it is done",
}
PARAMETERS = {
    "project": "local-project",
    "zone": "europe-west4-a",
    "region": "europe-west4",
    "bucket": "results",
    "name:path": "theirs",
    "name": "other",
    "email": EMAIL,
    "user": "you@example.com",
    "role": "selfDelete",
    "service": "pubsub.googleapis.com",
    "family": "opensees-hpc",
    "fingerprint": "00",
    "id": "1",
}


@dataclass(frozen=True, kw_only=True)
class Who:
    """A caller: the headers of its requests, and the status that it gets everywhere (0: it depends)."""

    headers: Json = field(default_factory=dict)
    status: int = 0
    challenge: str = ""


@pytest.fixture(scope="module")
def batch_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchCloud]:
    with open_batch_cloud(tmp_path_factory.mktemp("batch_cloud") / "state") as opened:
        yield opened


def ask_route(batch_cloud: BatchCloud, method: str, path: str, headers: Json) -> requests.Response:
    """Call a route, with a value for each parameter."""
    for key, value in PARAMETERS.items():
        path = path.replace(f"{{{key}}}", value)
    query = f"?uploadType=media&name=new-{method}-{path.split('/')[1]}" if "upload" in path else ""
    if path.startswith("/batch"):
        return batch_cloud.send(method, path, {**headers, "Content-Type": "multipart/mixed; boundary=B"}, data=b"--B--")
    return batch_cloud.send(method, path + query, headers)


REALM = 'Bearer realm="https://accounts.google.com/"'
INVALID = f'{REALM}, error="invalid_token"'


def strangers(batch_cloud: BatchCloud) -> dict[str, Who]:
    """Return callers that no route accepts. The web pages even have the owner's token, which no page can have."""
    owner = batch_cloud.cloud.owner
    return {
        "nobody": Who(status=401, challenge=REALM),
        "garbage": Who(headers={"Authorization": "Bearer garbage"}, status=401, challenge=INVALID),
        "empty": Who(headers={"Authorization": "Bearer "}, status=401, challenge=INVALID),
        "half": Who(headers={"Authorization": owner["Authorization"][:-1]}, status=401, challenge=INVALID),
        "basic": Who(headers={"Authorization": "Basic eDp5"}, status=401, challenge=INVALID),
        "page": Who(headers={**owner, "Origin": "https://example.com"}, status=403),
        "page here": Who(headers={**owner, "Origin": "http://127.0.0.1:8000"}, status=403),
        "page of a file": Who(headers={**owner, "Origin": "null"}, status=403),
        "image in a page": Who(headers={**owner, "Sec-Fetch-Site": "cross-site"}, status=403),
        "page of a neighbour": Who(headers={**owner, "Sec-Fetch-Site": "same-site"}, status=403),
        "rebound name": Who(headers={**owner, "Host": "example.com"}, status=421),
        "rebound name with port": Who(headers={**owner, "Host": "127.0.0.1.example.com:80"}, status=421),
        "no name": Who(headers={**owner, "Host": ""}, status=421),
    }


WHO = (
    *("nobody", "garbage", "empty", "half", "basic", "page", "page here", "page of a file", "image in a page"),
    *("page of a neighbour", "rebound name", "rebound name with port", "no name"),
)


@pytest.mark.parametrize("who", WHO)
def test_no_route_accepts_a_stranger(batch_cloud: BatchCloud, who: str) -> None:
    caller = strangers(batch_cloud)[who]
    for method, path in batch_cloud.cloud.cloud.app.routes():
        answer = ask_route(batch_cloud, method, path, caller.headers)
        assert (answer.status_code, method, path) == (caller.status, method, path)
        assert answer.headers.get("WWW-Authenticate", "") == caller.challenge
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_every_stranger_is_tested(batch_cloud: BatchCloud) -> None:
    assert set(WHO) == set(strangers(batch_cloud))


def test_every_route_has_a_kind_and_every_entry_a_route(batch_cloud: BatchCloud) -> None:
    routes = batch_cloud.cloud.cloud.app.routes()
    assert {path.split("/")[1] for _, path in routes} == KINDS
    assert set(VM_MAY) <= set(routes)


def test_what_a_vm_may_do_with_each_route(batch_cloud: BatchCloud) -> None:
    wrong = []
    for method, path in batch_cloud.cloud.cloud.app.routes():
        known = ("GET" if method == "HEAD" else method, path)
        status = ask_route(batch_cloud, method, path, batch_cloud.vm).status_code
        if (status != 403) is not (known in VM_MAY) or status in (401, 421, 500):
            wrong.append((method, path, status))
    assert not wrong


def test_a_preflight_is_rejected(batch_cloud: BatchCloud) -> None:
    asked = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    answer = batch_cloud.send("OPTIONS", "/_local/faults", asked)
    assert answer.status_code == 403
    assert batch_cloud.send("OPTIONS", "/_local/faults", batch_cloud.cloud.owner).status_code == 405


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_local/faults"),
        ("POST", "/compute/v1/projects/local-project/zones/europe-west4-a/instances"),
        ("PUT", "/storage/v1/b/results/iam"),
        ("PATCH", "/storage/v1/b/results/o/theirs"),
        ("POST", "/storage/v1/b/results/o/new/compose"),
        ("POST", "/storage/v1/b/results/o/theirs/rewriteTo/b/results/o/new"),
        ("POST", "/batch/storage/v1"),
    ],
)
def test_a_form_is_not_accepted_as_json(batch_cloud: BatchCloud, method: str, path: str, content_type: str) -> None:
    headers = {**batch_cloud.cloud.owner, "Content-Type": content_type}
    answer = batch_cloud.send(method, path, headers, data=b'{"kind": "http"}')
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (400, "badContent")


# ---------------------------------------------------------------- objects, by each route to them


_UP = "/upload/storage/v1/b/results/o?uploadType="
SOURCES = {"sourceObjects": [{"name": "mine"}]}
#: Each route for the VM: method, path, body, the status.
ROUTES: dict[str, tuple[str, str, Json, int]] = {
    "read": ("GET", "/storage/v1/b/results/o/theirs?alt=media", {}, 200),
    "read elsewhere": ("GET", "/storage/v1/b/elsewhere/o/secret?alt=media", {}, 403),
    "list elsewhere": ("GET", "/storage/v1/b/elsewhere/o", {}, 403),
    "delete": ("DELETE", "/storage/v1/b/results/o/theirs", {}, 403),
    "patch": ("PATCH", "/storage/v1/b/results/o/theirs", {"json": {"metadata": {"a": "b"}}}, 403),
    "put": ("PUT", "/storage/v1/b/results/o/theirs", {"json": {"metadata": {"a": "b"}}}, 403),
    "media": ("POST", _UP + "media&name=theirs", {"data": b"bad"}, 403),
    "media, new": ("POST", _UP + "media&name=n1", {"data": b"good"}, 200),
    "media, by the list": ("POST", "/storage/v1/b/results/o?uploadType=media&name=theirs", {"data": b"bad"}, 405),
    "media, two names": ("POST", _UP + "media&name=n2&name=theirs", {"data": b"bad"}, 403),
    "media, the other way round": ("POST", _UP + "media&name=theirs&name=n2", {"data": b"good"}, 200),
    "media, no session": ("POST", _UP + "media&name=theirs&upload_id=x", {"data": b"bad"}, 404),
    "no kind of upload": ("POST", _UP + "&name=theirs", {"data": b"bad"}, 400),
    "signed": ("POST", _UP + "&name=theirs&X-Goog-Algorithm=x", {"data": b"bad"}, 400),
    "multipart": ("POST", _UP + "multipart&name=theirs", multipart("{}"), 403),
    "multipart, named inside": ("POST", _UP + "multipart", multipart('{"name": "theirs"}'), 403),
    "multipart, a decoy": ("POST", _UP + "multipart", multipart('{"metadata": {"name": "n3"}, "name": "theirs"}'), 403),
    "multipart, two": ("POST", _UP + "multipart", multipart('{"name": "n3", "name": "theirs"}'), 403),
    "multipart, another spelling": ("POST", _UP + "multipart", multipart('{"Name": "theirs"}'), 400),
    "multipart, both spellings": ("POST", _UP + "multipart", multipart('{"name": "n4", "Name": "theirs"}'), 200),
    "multipart, no JSON": ("POST", _UP + "multipart", multipart("theirs"), 400),
    "resumable": ("POST", _UP + "resumable&name=theirs", {}, 403),
    "resumable, named inside": ("POST", _UP + "resumable", {"json": {"name": "theirs"}}, 403),
    "resumable, a decoy": ("POST", _UP + "resumable", {"json": {"metadata": {"name": "n5"}, "name": "theirs"}}, 403),
    "resumable, new": ("POST", _UP + "resumable", {"json": {"name": "n5"}}, 200),
    "rewrite": ("POST", COPY.format(source="results/o/mine", target="results/o/theirs"), {"json": {}}, 403),
    "rewrite, new": ("POST", COPY.format(source="results/o/mine", target="results/o/n6"), {"json": {}}, 200),
    "rewrite, a second one": (
        *("POST", COPY.format(source="results/o/mine", target="results/o/n7/rewriteTo/b/results/o/theirs")),
        *({"json": {}}, 404),
    ),
    "rewrite from elsewhere": ("POST", COPY.format(source="elsewhere/o/secret", target="results/o/n8"), {}, 403),
    "rewrite to elsewhere": ("POST", COPY.format(source="results/o/mine", target="elsewhere/o/n9"), {}, 403),
    "copy": ("POST", "/storage/v1/b/results/o/mine/copyTo/b/results/o/theirs", {"json": {}}, 403),
    "copy, new": ("POST", "/storage/v1/b/results/o/mine/copyTo/b/results/o/n10", {"json": {}}, 200),
    "compose": ("POST", "/storage/v1/b/results/o/theirs/compose", {"json": SOURCES}, 403),
    "compose, new": ("POST", "/storage/v1/b/results/o/n11/compose", {"json": SOURCES}, 200),
    "compose of nothing": ("POST", "/storage/v1/b/results/o/n12/compose", {"json": {"SourceObjects": []}}, 400),
    "access list": ("PUT", "/storage/v1/b/results/o/theirs/acl/allUsers", {"json": {"role": "OWNER"}}, 403),
    "folder": ("POST", _UP + "media&name=..", {"data": b"bad"}, 400),
    "compose, another spelling": (
        *("POST", "/storage/v1/b/results/o/n13/compose"),
        *({"json": {"sourceObjects": [{"name": "mine", "Name": "../elsewhere/secret"}]}}, 200),
    ),
    "list elsewhere, by its prefix": ("GET", "/storage/v1/b/results/o?prefix=../elsewhere/", {}, 200),
    "delete all": ("DELETE", "/storage/v1/b/results/o/", {}, 404),
}


@pytest.mark.parametrize("route", ROUTES)
def test_a_vm_cannot_overwrite_an_existing_object(batch_cloud: BatchCloud, route: str) -> None:
    method, path, sent, status = ROUTES[route]
    headers = {**batch_cloud.vm, **sent.get("headers", {})}
    answer = batch_cloud.send(method, path, headers, **{key: value for key, value in sent.items() if key != "headers"})
    assert answer.status_code == status, answer.text
    for name in ("theirs", "mine"):
        shown = batch_cloud.cloud.session.get(f"{batch_cloud.cloud.url}/storage/v1/b/results/o/{name}?alt=media")
        assert shown.content == b"kept"
    assert "metadata" not in batch_cloud.cloud.get("/storage/v1/b/results/o/theirs")


def begin(batch_cloud: BatchCloud, name: str, headers: Json) -> str:
    """Begin an upload, and return its URI without the server."""
    answer = batch_cloud.send("POST", _UP + f"resumable&name={name}", headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["Location"].removeprefix(batch_cloud.cloud.url)


def test_the_uri_of_an_upload_is_a_credential(batch_cloud: BatchCloud) -> None:
    """Match Google: a client with the URI continues as the caller who began, with that object and no other."""
    uri = begin(batch_cloud, "session", batch_cloud.vm)
    assert batch_cloud.send("PUT", f"{uri}x", {}, data=b"bad").status_code == 401
    assert batch_cloud.send("PUT", uri, {"Origin": "https://example.com"}, data=b"bad").status_code == 403
    assert batch_cloud.send("PUT", uri, {"Authorization": "Bearer garbage"}, data=b"bad").status_code == 401
    assert batch_cloud.send("GET", uri.replace("/upload/", "/"), {}).status_code == 401
    other = uri.replace("/b/results/", "/b/elsewhere/")
    assert batch_cloud.send("PUT", other, {}, data=b"bad").status_code == 404
    assert batch_cloud.send("PUT", uri.replace("name=session", "name=theirs"), {}, data=b"good").status_code == 200
    shown = batch_cloud.send("GET", "/storage/v1/b/results/o/session?alt=media", batch_cloud.vm)
    assert shown.content == b"good"
    assert batch_cloud.send("PUT", uri, {}, data=b"bad").status_code == 401


def test_an_upload_does_not_overwrite_an_object_that_was_created_meanwhile(batch_cloud: BatchCloud) -> None:
    uri = begin(batch_cloud, "race", batch_cloud.vm)
    assert batch_cloud.send("POST", _UP + "media&name=race", batch_cloud.cloud.owner, data=b"first").status_code == 200
    assert batch_cloud.send("PUT", uri, batch_cloud.vm, data=b"second").status_code == 403
    assert batch_cloud.send("GET", "/storage/v1/b/results/o/race?alt=media", batch_cloud.vm).content == b"first"


def test_a_batch_request_bypasses_no_check(batch_cloud: BatchCloud) -> None:
    asked = {
        "read": "GET /storage/v1/b/results/o/theirs",
        "delete": "DELETE /storage/v1/b/results/o/theirs",
        "rewrite": "POST /storage/v1/b/results/o/mine/rewriteTo/b/results/o/theirs",
        "faults": "GET /_local/faults",
        "stop": "POST /storage/v1/../../_local/stop",
        "stop, written otherwise": "POST /storage/v1/%2e%2e/%2E%2e/_local/stop",
        "stop, in one part": "POST /storage/v1/..%2F..%2F_local%2Fstop",
        "here": "GET /storage/v1/./b/results/o/theirs",
        "elsewhere": "GET /storage/v1/b/results/o/..%2Felsewhere%2Fsecret",
        "again": "POST /batch/storage/v1",
        "again, from below": "POST /storage/v1/../../batch/storage/v1",
        "too long": f"GET /storage/v1/b/results/o?prefix={'a' * 70_000}",
    }
    parts = "".join(
        f"--B\r\nContent-Type: application/http\r\nContent-ID: <{name}>\r\n\r\n{line} HTTP/1.1\r\n\r\n\r\n"
        for name, line in asked.items()
    )
    headers = {**batch_cloud.vm, "Content-Type": "multipart/mixed; boundary=B"}
    answer = batch_cloud.send("POST", "/batch/storage/v1", headers, data=parts + "--B--\r\n")
    statuses = [int(line.split()[1]) for line in answer.text.splitlines() if line.startswith("HTTP/1.1 ")]
    assert dict(zip(asked, statuses, strict=True)) == {
        "read": 200,
        "delete": 403,
        "rewrite": 403,
        "faults": 404,
        "stop": 400,
        "stop, written otherwise": 400,
        "stop, in one part": 400,
        "here": 400,
        "elsewhere": 400,
        "again": 404,
        "again, from below": 400,
        "too long": 400,
    }


PART = b"--B\r\nContent-Type: application/http\r\n"
GOOD_PART = PART + b"\r\nDELETE /storage/v1/b/results/o/theirs HTTP/1.1\r\n\r\n\r\n"


def nested(depth: int) -> bytes:
    """Build nested multipart parts."""
    return b"".join(b"--B%d\r\nContent-Type: multipart/mixed; boundary=B%d\r\n\r\n" % (n, n + 1) for n in range(depth))


@pytest.mark.parametrize(
    "body",
    {
        "nothing": b"",
        "no part": b"--B--\r\n",
        "an empty part": PART + b"\r\n\r\n--B--\r\n",
        "one word": PART + b"\r\nGET\r\n\r\n--B--\r\n",
        "no method": PART + b"\r\n/storage/v1/b/results/o HTTP/1.1\r\n\r\n--B--\r\n",
        "no text": PART + b"\r\nGET /storage/v1/b/results/o/\xff\x00 HTTP/1.1\r\n\r\n--B--\r\n",
        "no URL": PART + b"\r\nGET http://[ HTTP/1.1\r\n\r\n--B--\r\n",
        "a header that is no text": PART + b"\r\nGET /storage/v1/b/results/o HTTP/1.1\r\nX: \xff\r\n\r\n\r\n--B--\r\n",
        "an ID that is no text": PART
        + b"Content-ID: \xff\r\n\r\nGET /storage/v1/b/results/o HTTP/1.1\r\n\r\n--B--\r\n",
        "another type": b"--B\r\nContent-Type: text/plain\r\n\r\nGET /storage/v1/b/results/o\r\n--B--\r\n",
        "parts in parts": b"--B\r\nContent-Type: multipart/mixed; boundary=B0\r\n\r\n" + nested(3000),
        "a bad one behind a good one": GOOD_PART + PART + b"\r\n\r\n--B--\r\n",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_batch_request_that_cannot_be_read_is_rejected_as_a_whole(
    batch_cloud: BatchCloud, body: tuple[str, bytes]
) -> None:
    headers = {**batch_cloud.cloud.owner, "Content-Type": "multipart/mixed; boundary=B"}
    answer = batch_cloud.send("POST", "/batch/storage/v1", headers, data=body[1])
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (400, "invalid")
    assert batch_cloud.send("GET", "/storage/v1/b/results/o/theirs", batch_cloud.vm).status_code == 200


# ---------------------------------------------------------------- last: the VM deletes itself, the owner everything


def test_a_vm_may_delete_itself(batch_cloud: BatchCloud) -> None:
    other = OWN_VM.replace("/vm", "/other")
    assert batch_cloud.send("GET", f"/compute/v1/{OWN_VM}", batch_cloud.vm).status_code == 200
    assert batch_cloud.send("DELETE", f"/compute/v1/{other}", batch_cloud.vm).status_code == 403
    assert batch_cloud.send("DELETE", f"/compute/v1/{OWN_VM}", batch_cloud.vm).status_code == 200


def test_the_owner_may_do_everything(batch_cloud: BatchCloud) -> None:
    """Stop the cloud last."""
    routes = [route for route in batch_cloud.cloud.cloud.app.routes() if route[1] != "/_local/stop"]
    for method, path in [*routes, ("POST", "/_local/stop")]:
        status = ask_route(batch_cloud, method, path, batch_cloud.cloud.owner).status_code
        assert status not in (401, 403, 421, 500), (method, path, status)
