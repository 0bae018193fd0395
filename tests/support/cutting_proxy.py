"""An HTTP proxy that cuts connections in the middle of answers, and records the requests."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_HEADERS = ("connection", "transfer-encoding", "keep-alive", "host")


class CuttingProxy(ThreadingHTTPServer):
    """``cuts``: for each of the next downloads, the number of bytes after which the connection is cut."""

    daemon_threads = True

    def __init__(self, backend: str, cuts: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.backend = urlsplit(backend).netloc
        self.cuts = list(cuts)
        self.ranges: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that closes its connection."""


class _Request(BaseHTTPRequestHandler):
    server: CuttingProxy

    def do_GET(self) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
        with closing(http.client.HTTPConnection(self.server.backend)) as backend:
            backend.request("GET", self.path, headers=headers)
            answer = backend.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_HEADERS:
                    self.send_header(name, value)
            self.end_headers()
        if "alt=media" in self.path and answer.status < 300:
            self.server.ranges.append(self.headers.get("Range", ""))
            content = content[: self.server.cuts.pop(0)] if self.server.cuts else content
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextmanager
def cutting_proxy(backend: str, cuts: Sequence[int]) -> Iterator[CuttingProxy]:
    with CuttingProxy(backend, cuts) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
