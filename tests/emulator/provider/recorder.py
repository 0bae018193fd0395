"""A proxy in front of the cloud that records every request, in the form of the recorded traces."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Request = dict[str, Any]

_HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding", "keep-alive"}


class Recorder:
    """Records while the block runs; ``take`` returns the recording."""

    def __init__(self, cloud_url: str) -> None:
        self._requests: list[Request] = []
        self._cloud = urlsplit(cloud_url).netloc
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> list[Request]:
        """Return the requests since the last call."""
        with self._guard:
            taken, self._requests = self._requests, []
        return taken

    def forward(self, method: str, target: str, headers: Message, body: bytes) -> tuple[int, Message, bytes]:
        """Forward a request to the cloud; record request and answer."""
        connection = http.client.HTTPConnection(self._cloud, timeout=300)
        try:
            sent = {key: value for key, value in headers.items() if key.lower() not in _HOP_BY_HOP}
            connection.request(method, target, body=body, headers=sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        with self._guard:
            self._requests.append(_note(method, target, body, answer.status))
        return answer.status, answer.headers, content


def verbs_of(requests: Sequence[Request], name: str) -> list[tuple[str, str]]:
    """Return the writes for the resource of this name: method and the last part of the path."""
    return [
        (request["method"], request["path"].rsplit("/", 1)[-1])
        for request in requests
        if request["method"] != "GET" and not request["path"].endswith("/wait") and _is_about(request, name)
    ]


def _is_about(request: Request, name: str) -> bool:
    body = request["request_body"]
    return name in request["path"].split("/") or (isinstance(body, dict) and body.get("name") == name)


def _note(method: str, target: str, body: bytes, status: int) -> Request:
    address = urlsplit(target)
    return {
        "method": method,
        "path": address.path,
        "query": dict(parse_qsl(address.query, keep_blank_values=True)),
        "request_body": _read_body(body),
        "status": status,
    }


def _read_body(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return re.sub(r"[0-9a-f]{40,}", "BOUNDARY", body.decode("latin1"))


def _make_handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, headers, content = recorder.forward(self.command, self.path, self.headers, body)
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = relay  # noqa: N815

    return Handler
