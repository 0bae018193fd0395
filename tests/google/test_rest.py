"""Google's errors as ours, and which requests are retried: against a real HTTP server that answers by script."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials

from runner.errors import (
    CloudError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    UnreachableError,
)
from runner.google.rest import Api, log_answers
from runner.google.retry import RetryPolicy


class ScriptedServer(ThreadingHTTPServer):
    """Answers with the statuses in ``script``, then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[int] = []
        self.seen: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(f"{self.command} {self.path}")
        status = self.server.script.pop(0) if self.server.script else 200
        error = {"error": {"code": status, "message": "said Google", "errors": [{"reason": f"reason{status}"}]}}
        page = {"items": [1], "nextPageToken": "more"} if "pageToken" not in self.path else {"items": [2]}
        body = json.dumps(page if status == 200 else error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (http.server's names)

    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        thread = threading.Thread(target=scripted.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield scripted
        scripted.shutdown()
        thread.join()


@pytest.fixture
def api(server: ScriptedServer) -> Api:
    return Api(f"http://127.0.0.1:{server.server_port}", requests.Session)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, CloudError),
        (401, PermissionDeniedError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, ConflictError),
        (412, ConflictError),
    ],
)
def test_each_status_is_our_error_with_googles_message(
    server: ScriptedServer, api: Api, status: int, kind: type[CloudError]
) -> None:
    server.script = [status]
    with pytest.raises(kind) as caught:
        api.get("resource")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.reason) == (status, f"reason{status}")
    assert "said Google" in str(caught.value)
    assert len(server.seen) == 1


def test_the_log_has_each_request_and_each_wait(
    server: ScriptedServer, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runner")
    server.script = [503]
    api.get("resource", secret="hunter2")
    url = f"{api.base}/resource"
    first, wait, second = caplog.messages
    assert first.startswith(f"GET {url}: 503, ")
    assert re.fullmatch(r"again in \d\.\d\d s, after: said Google .*", wait)
    assert re.fullmatch(rf"GET {re.escape(url)}: 200, \d+\.\d{{3}} s", second)


def test_the_log_has_requests_of_other_code_by_our_session(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runner")
    url = f"http://127.0.0.1:{server.server_port}/object"
    with log_answers(requests.Session()) as session:
        session.get(f"{url}?X-Goog-Signature=hunter2", headers={"Authorization": "Bearer hunter2"}, timeout=60)
    (line,) = caplog.messages
    assert re.fullmatch(rf"GET {re.escape(url)}: 200, \d+\.\d{{3}} s", line)


def test_the_log_has_a_request_without_an_answer(
    api: Api, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runner")
    server.shutdown()
    server.server_close()
    with pytest.raises(UnreachableError):
        api.post("resource")
    assert caplog.messages[0].startswith(f"POST {api.base}/resource: no answer, ")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_read_is_tried_again(server: ScriptedServer, api: Api, status: int) -> None:
    server.script = [status, status]
    assert api.get("resource")["items"] == [1]
    assert len(server.seen) == 3


def test_a_write_is_tried_again_only_if_nothing_was_done(server: ScriptedServer, api: Api) -> None:
    server.script = [503]
    api.post("resource", {"a": 1})
    assert len(server.seen) == 2
    server.script = [500]
    with pytest.raises(CloudError):
        api.post("resource", {"a": 1})
    assert len(server.seen) == 3


def test_a_list_is_read_page_by_page(server: ScriptedServer, api: Api) -> None:
    found: list[object] = list(api.items("resources", filter="a=b"))
    assert found == [1, 2]
    assert server.seen == ["GET /resources?filter=a%3Db", "GET /resources?filter=a%3Db&pageToken=more"]


def test_quota_has_its_own_error(server: ScriptedServer, api: Api) -> None:
    from runner.google.rest import cloud_error

    text = json.dumps({"error": {"message": "Quota 'CPUS' exceeded.", "errors": [{"reason": "quotaExceeded"}]}})
    assert type(cloud_error(403, text, "insert")) is QuotaError


def test_no_answer_has_a_remedy(server: ScriptedServer) -> None:
    unreachable = Api("http://127.0.0.1:1", requests.Session)
    with pytest.raises(UnreachableError) as caught:
        unreachable.post("resource")
    assert "network" in caught.value.remedy


def test_an_unreachable_token_server_is_not_reported_as_missing_credentials() -> None:
    person: Any = Credentials(
        token=None, refresh_token="r", client_id="c", client_secret="s", token_uri="http://127.0.0.1:9/token"
    )
    api = Api("http://127.0.0.1:9", lambda: AuthorizedSession(person), RetryPolicy(budget_s=0))
    with pytest.raises(UnreachableError, match="no answer to a request for a token") as caught:
        api.get("resource")
    assert "check the network" in caught.value.remedy
