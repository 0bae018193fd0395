"""A cloud in a thread of the test's process, with the real front, store, lifecycle and object store; the hypervisor is a fake.

Tests that need real instances or a process of its own start one themselves (``control/test_process``, ``faults/test_fault_clients``).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from runner.emulator.compute.disk_roots import RootTools
from runner.emulator.compute.guest_view import GuestView
from runner.emulator.compute.lifecycle import Hypervisor
from runner.emulator.control.server import EmbeddedCloud, build_cloud, serve
from runner.emulator.machines.interface import MachineSpec
from runner.emulator.state.owner import make_owner_token
from runner.emulator.state.settings import CloudSettings
from runner.emulator.wire.listeners import bind_port

LIMIT_S = 60.0
LOGGERS = ("runner.emulator", "uvicorn.error", "asyncio")
LINK_ROOT = "https://www.googleapis.com"
ROCKY = "projects/cloud-hpc-image-public/global/images/family/hpc-rocky-linux-8"
Json = dict[str, Any]


class FakeHypervisor:
    """Instances without processes: records the calls, publishes a host key, never runs out of addresses."""

    def __init__(self, view: GuestView) -> None:
        self.view = view
        self.running: dict[str, MachineSpec] = {}
        self.notices: list[tuple[str, float]] = []
        self.guest_faults: list[tuple[str, str]] = []

    async def boot(self, spec: MachineSpec) -> None:
        assert spec.root.is_dir(), spec.root
        self.running[spec.key] = spec
        self.view.set_guest_attribute(spec.key, "hostkeys", "ssh-ed25519", "AAAA")
        self.view.append_serial(spec.key, f"{spec.name} login:\n")

    async def shut_down(self, key: str, *, notice_s: float) -> None:
        self.notices.append((key, notice_s))
        self.running.pop(key, None)

    async def close(self) -> None:
        self.running.clear()

    def free_address(self, taken: Collection[str]) -> str:
        return next(address for n in range(2, 250) if (address := f"127.20.0.{n}") not in taken)

    def refuse_ssh(self, key: str, *, duration_s: float) -> None:
        self.guest_faults.append(("refuse_ssh", key))

    def cut_next_connection(self, key: str, *, after_bytes: int) -> None:
        self.guest_faults.append(("cut_next_connection", key))

    def drop_connections(self, key: str) -> None:
        self.guest_faults.append(("drop_connections", key))

    async def fill_disk(self, key: str, *, full: bool) -> None:
        self.guest_faults.append(("fill_disk", key))

    async def hang(self, key: str) -> None:
        self.guest_faults.append(("hang", key))


def make_base(target: Path, os_name: str) -> None:
    (target / "etc").mkdir(parents=True)
    (target / "etc/os-release").write_text(os_name)


def clone(source: Path, target: Path) -> None:
    shutil.copytree(source, target)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


TOOLS = RootTools(make_base=make_base, clone=clone, copy_image=clone, seal=lambda root: None, remove=remove)


class Defects(logging.Handler):
    """Collects the tracebacks that the cloud would write to its log."""

    def __init__(self) -> None:
        super().__init__()
        self.tracebacks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.tracebacks.append(logging.Formatter().format(record))


class CloudUnderTest:
    """A cloud to start, call and stop. With the ``state`` of an earlier cloud, it is a restart."""

    def __init__(self, settings: CloudSettings) -> None:
        self.settings = settings
        self._listener = bind_port()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.session = self.new_session()
        self.cloud: EmbeddedCloud
        self.hypervisor: FakeHypervisor
        self.loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._defects = Defects()

    @property
    def token(self) -> str:
        """The owner's token."""
        return make_owner_token(self.settings.state)

    @property
    def owner(self) -> Json:
        """The headers of the owner."""
        return {"Authorization": f"Bearer {self.token}"}

    def new_session(self) -> requests.Session:
        """Return a session of the owner."""
        session = requests.Session()
        session.trust_env = False
        session.headers.update(self.owner)
        return session

    def start(self) -> CloudUnderTest:
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self._defects)
        self._thread.start()
        assert self._ready.wait(LIMIT_S), "the cloud did not start"
        if self._problem is not None:
            raise self._problem
        return self

    def stop(self) -> None:
        self.session.close()
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.cloud.stopping.set)
            self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self._defects)
        assert self._defects.tracebacks == [], "the embedded cloud has a defect"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:
            self._problem = problem
            self._ready.set()

    async def _serve(self) -> None:
        def make_hypervisor(view: GuestView, url: str, user: str) -> Hypervisor:
            self.hypervisor = FakeHypervisor(view)
            return self.hypervisor

        self.loop = asyncio.get_running_loop()
        self.cloud = build_cloud(
            self.settings, url=self.url, ssh_port=2222, make_hypervisor=make_hypervisor, tools=TOOLS
        )
        await serve(self.cloud, self._listener, self._ready.set)

    # ------------------------------------------------------------------ requests

    @property
    def project(self) -> str:
        return f"{self.url}/compute/v1/projects/{self.settings.project}"

    @property
    def zone(self) -> str:
        return f"{self.project}/zones/{self.settings.zone}"

    @property
    def region(self) -> str:
        return f"{self.project}/regions/{self.settings.region}"

    def ask(self, method: str, url: str, body: Any = None, **more: Any) -> requests.Response:
        url = url if url.startswith("http") else self.url + url
        return self.session.request(method, url, json=body, timeout=LIMIT_S, **more)

    def get(self, url: str, **query: str) -> Json:
        answer = self.ask("GET", url, params=query)
        assert answer.status_code == 200, answer.text
        document: Json = answer.json()
        return document

    def done(self, method: str, url: str, body: Any = None, **query: str) -> Json:
        """Send a request, wait for the operation, and return its record."""
        answer = self.ask(method, url, body, params=query)
        assert answer.status_code == 200, answer.text
        return self.wait(answer.json())

    def wait(self, operation: Json) -> Json:
        answer = self.ask("POST", operation["selfLink"].replace(LINK_ROOT, self.url) + "/wait")
        assert answer.status_code == 200, answer.text
        record: Json = answer.json()
        assert record["status"] == "DONE"
        return record

    def refused(self, method: str, url: str, body: Any = None, **more: Any) -> tuple[int, str, str]:
        """Return status, reason and message of a failed request."""
        answer = self.ask(method, url, body, **more)
        assert answer.status_code >= 400, answer.text
        error = answer.json()["error"]
        assert error["code"] == answer.status_code
        return answer.status_code, error["errors"][0]["reason"], error["message"]

    def fault(self, **fault: Any) -> None:
        assert self.ask("POST", "/_local/faults", fault).status_code == 200

    def advance(self, seconds: float) -> None:
        assert self.ask("POST", "/_local/clock", {"advance_s": seconds}).status_code == 200

    def status_of(self, name: str) -> str:
        """Return the status of an instance in the default zone, '' if it is gone."""
        answer = self.ask("GET", f"{self.zone}/instances/{name}")
        return str(answer.json()["status"]) if answer.status_code == 200 else ""

    def insert_vm(self, name: str = "vm", **changes: Any) -> Json:
        return self.done("POST", f"{self.zone}/instances", vm_body(name, **changes))


def vm_body(name: str = "vm", *, zone: str = "europe-west4-a", **changes: Any) -> Json:
    """Return the body of a Spot VM that Google would accept."""
    body: Json = {
        "name": name,
        "machineType": f"zones/{zone}/machineTypes/c2-standard-4",
        "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"sourceImage": ROCKY, "diskSizeGb": "50"}}],
        "networkInterfaces": [{"network": "global/networks/default", "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}],
        "scheduling": spot(),
        "metadata": {"items": [{"key": "enable-guest-attributes", "value": "TRUE"}]},
    }
    return {**body, **changes}


def spot(**changes: Any) -> Json:
    return {"provisioningModel": "SPOT", "preemptible": True, "automaticRestart": False, **changes}


def until(condition: Callable[[], Any]) -> Any:
    """Poll until a condition is true, and return its value."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it never happened")


@pytest.fixture
def settings(tmp_path: Path) -> CloudSettings:
    return CloudSettings(state=tmp_path / "state")


@pytest.fixture
def cloud(settings: CloudSettings) -> Iterator[CloudUnderTest]:
    running = CloudUnderTest(settings).start()
    yield running
    running.stop()
