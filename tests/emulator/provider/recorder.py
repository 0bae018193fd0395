"""A proxy in front of the cloud that writes down every request, in the form of the recorded traces."""

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

_HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding", "keep-alive"}


class Recorder:
    """``requests`` grows while the block runs."""

    def __init__(self, cloud_url):
        self.requests = []
        self._cloud = urlsplit(cloud_url)
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def take(self):
        """What was recorded since the last look."""
        with self._guard:
            taken, self.requests = self.requests, []
        return taken

    def forward(self, method, target, headers, body):
        """Ask the cloud; note what was asked and answered."""
        connection = http.client.HTTPConnection(self._cloud.hostname, self._cloud.port, timeout=300)
        try:
            sent = {key: value for key, value in headers.items() if key.lower() not in _HOP_BY_HOP}
            connection.request(method, target, body=body, headers=sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        with self._guard:
            self.requests.append(_note(method, target, body, answer.status))
        return answer.status, answer.headers, content


def _note(method, target, body, status):
    address = urlsplit(target)
    return {
        "method": method,
        "path": address.path,
        "query": dict(parse_qsl(address.query, keep_blank_values=True)),
        "request_body": _read_body(body),
        "status": status,
    }


def _read_body(body):
    try:
        return json.loads(body) if body else None
    except ValueError:
        return re.sub(r"[0-9a-f]{40,}", "BOUNDARY", body.decode("latin1"))


def _make_handler(recorder):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def relay(self):
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
