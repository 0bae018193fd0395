"""Hosts for the tests of the job interface: a private OpenSSH server and an emulated instance, with the same interface."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.hardware import OpenSeesInterface, UnixServerScriptInterface
from runner.ssh.target import SshTarget
from tests.emulator.machines.lab import USERNAME, open_lab
from tests.hardware.sshd import Sshd

LIMIT_S = 60.0

# What the image's launcher does, as far as these tests need it.
FAKE_OPENSEESMP = '#!/bin/sh\nnp=$1\nmain=$2\nshift 2\nNP=$np exec /bin/sh "./$main" "$@"\n'
FAKE_OPENSEESPY = (
    '#!/bin/sh\n[ "$1" = -n ] || exit 99\nNP=$2\nexport NP\nmain=$3\nshift 3\nexec /bin/sh "./$main" "$@"\n'
)


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that runs jobs. ``folder`` is seen by the tests and by the host under the same path."""

    address: str
    port: int
    user: str
    key: Path
    host_key: str
    folder: Path
    home: Path
    cut_connections: Callable[[], None]
    restart: Callable[[], object]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def host_port(self) -> str:
        """HOST:PORT"""
        return f"{self.address}:{self.port}"

    def target(self, **more: Any) -> SshTarget:
        """For plain connections."""
        wanted: dict[str, Any] = {"key_filename": self.key, "host_keys": (self.host_key,)} | more
        return SshTarget(host=self.address, port=self.port, user=self.user, **wanted)

    def opensees(self, workspace: Path, **more: Any) -> OpenSeesInterface:
        """Return an interface for OpenSees jobs."""
        wanted: dict[str, Any] = {"key_filename": self.key, "host_keys": [self.host_key]} | more
        return OpenSeesInterface(self.user, self.host_port, workspace_dir=str(workspace), **wanted)

    def scripts(
        self, program: str, script: Path | str, workspace: Path | None, **more: Any
    ) -> UnixServerScriptInterface:
        """Return an interface for a simulation script."""
        wanted: dict[str, Any] = {"key_filename": self.key, "host_keys": [self.host_key]} | more
        return UnixServerScriptInterface(
            self.user, self.host_port, program, str(script), "here", workspace_dir=workspace, **wanted
        )


def write_programs(folder: Path) -> None:
    """Stand-ins for the image's programs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"openseesmp": FAKE_OPENSEESMP, "openseespy": FAKE_OPENSEESPY}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


@contextlib.contextmanager
def openssh_host(folder: Path, *, options: tuple[str, ...] = (), home: str = "home dir") -> Iterator[Host]:
    """Yield a real sshd. Its home folder has a space in its name."""
    home_folder = folder / home
    home_folder.mkdir(parents=True)
    write_programs(folder / "prefix/bin")
    environment = {"HOME": str(home_folder), "OPENSEES_HPC_PREFIX": str(folder / "prefix")}
    server = Sshd(folder=folder / "sshd", environment=environment, options=options)
    server.prepare()
    server.start()
    try:
        yield Host(
            address="127.0.0.1",
            port=server.port,
            user=server.user,
            key=server.key,
            host_key=server.host_key_line,
            folder=folder,
            home=home_folder,
            cut_connections=server.cut_connections,
            restart=server.restart,
            environment=environment,
        )
    finally:
        server.stop()


class LoopInThread:
    """An event loop for the emulated instances."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(LIMIT_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextlib.contextmanager
def emulated_host(folder: Path) -> Iterator[Host]:
    """Yield an instance of the embedded cloud."""
    with emulated_lab(folder) as (host, _):
        yield host


@contextlib.contextmanager
def emulated_lab(folder: Path) -> Iterator[tuple[Host, Callable[[bool], None]]]:
    """Yield an instance of the embedded cloud, and a way to fill its disk."""
    thread = LoopInThread()
    lab_context = open_lab(folder / "lab")
    lab = thread.run(lab_context.__aenter__())
    try:
        spec = thread.run(lab.boot())
        write_programs(spec.root / "opt/opensees-hpc/bin")
        host = Host(
            address=spec.address,
            port=spec.ssh_port,
            user=USERNAME,
            key=lab.write_key(),
            host_key=f"ssh-ed25519 {lab.cloud.guest[spec.key]['hostkeys']['ssh-ed25519']}",
            folder=folder,
            home=spec.root / "home" / USERNAME,
            cut_connections=lambda: thread.run(_drop(lab, spec.key)),
            restart=lambda: thread.run(_drop(lab, spec.key)),
        )
        yield host, lambda full: thread.run(lab.hypervisor.fill_disk(spec.key, full=full))
    finally:
        thread.run(lab_context.__aexit__(None, None, None))
        thread.close()


async def _drop(lab: Any, key: str) -> None:
    lab.hypervisor.drop_connections(key)


def processes_of(workspace: Path) -> list[int]:
    """Return the processes that carry the token of a job in the workspace."""
    lines = [path.read_text().splitlines()[0] for path in workspace.glob("*/.job/limits")]
    tokens = {line.replace("token=", "OPENSEES_HPC_JOB=") for line in lines}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (folder / "environ").read_bytes().decode("utf-8", "replace").split("\0")
            if not tokens.isdisjoint(environment):
                found.append(int(folder.name))
    return found


def kill_leftovers(workspace: Path) -> None:
    """End what a test has left running on purpose."""
    for pid in processes_of(workspace):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(holds: Callable[[], bool], what: str = "it") -> None:
    """Poll until something holds, for a generous time."""
    give_up = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < give_up, f"timed out waiting for: {what}"
        time.sleep(0.02)
