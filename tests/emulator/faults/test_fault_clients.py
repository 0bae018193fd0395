"""Faults as real clients see them: asyncssh, Google's storage client, the process itself. The instances are real processes."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest
import requests
from google.cloud.storage import Client
from google.oauth2.credentials import Credentials

from runner.emulator import control
from runner.emulator.control.endpoint import Endpoint
from tests.emulator.conftest import LIMIT_S, spot, until, vm_body

OS_LOGIN = {"key": "enable-oslogin", "value": "TRUE"}
ATTRIBUTES = {"key": "enable-guest-attributes", "value": "TRUE"}
ASK_METADATA = """\
import os, sys, urllib.request
url = f"http://{os.environ['GCE_METADATA_HOST']}/computeMetadata/v1/instance/{sys.argv[1]}"
request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read().decode())
"""
SSH_FAILURES = (asyncssh.Error, OSError)


def ask_metadata(path: str) -> str:
    """Return a command that reads the metadata server with the Python that every instance has."""
    return shlex.join([sys.executable, "-I", "-S", "-c", ASK_METADATA, path])


@dataclass(kw_only=True)
class Site:
    """A cloud in a process of its own, with one instance ``vm``, and an SSH key for it."""

    state: Path
    endpoint: Endpoint
    key: asyncssh.SSHKey

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method, f"{self.endpoint.url}{path}", json=body, headers=self.endpoint.headers, timeout=LIMIT_S
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def zone(self) -> str:
        return f"/compute/v1/projects/{self.endpoint.project}/zones/{self.endpoint.zone}"

    def insert(self, name: str, **changes: Any) -> dict[str, Any]:
        """Insert an instance and return its operation's error, or {}."""
        body = vm_body(name, metadata={"items": [OS_LOGIN, ATTRIBUTES]}, **changes)
        operation = self.ask("POST", f"{self.zone}/instances", body)
        done: dict[str, Any] = self.ask("POST", f"{self.zone}/operations/{operation['name']}/wait")
        return dict(done.get("error") or {})

    def fault(self, kind: str, **fields: Any) -> None:
        self.ask("POST", "/_local/faults", {"kind": kind, **fields})

    def status_of(self, name: str) -> str:
        found = self.ask("GET", "/_local/status")["instances"]
        return next((str(one["status"]) for one in found if one["name"] == name), "")

    def address_of(self, name: str) -> str:
        instance = self.ask("GET", f"{self.zone}/instances/{name}")
        return str(instance["networkInterfaces"][0]["accessConfigs"][0]["natIP"])

    @asynccontextmanager
    async def connect(self, name: str = "vm", limit_s: float = 20.0) -> AsyncIterator[asyncssh.SSHClientConnection]:
        options: dict[str, Any] = {"username": "you_example_com", "client_keys": [self.key], "known_hosts": None}
        options |= {"config": None, "agent_path": None, "login_timeout": limit_s, "connect_timeout": limit_s}
        async with asyncssh.connect(self.address_of(name), self.endpoint.ssh_port, **options) as connection:
            yield connection

    async def say(self, name: str = "vm", limit_s: float = 20.0) -> str:
        """Return the output of ``echo there`` over a new connection."""
        async with self.connect(name, limit_s) as connection:
            return str((await connection.run("echo there", check=True)).stdout).strip()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state = tmp_path_factory.mktemp("cloud")
    site = Site(state=state, endpoint=control.start(state), key=asyncssh.generate_private_key("ssh-ed25519"))
    try:
        text = site.key.export_public_key().decode().strip()
        site.ask("POST", "/oslogin/v1/users/you@example.com:importSshPublicKey", {"key": text})
        yield site
    finally:
        control.stop(state)


@pytest.fixture
def site(shared: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Yield a site in which ``vm`` runs and no fault is armed."""
    assert shared.insert("vm") == {}
    yield shared
    shared.ask("DELETE", "/_local/faults")
    for one in shared.ask("GET", "/_local/status")["instances"]:
        url = f"{shared.endpoint.url}{shared.zone}/instances/{one['name']}"
        operation = requests.delete(url, headers=shared.endpoint.headers, timeout=LIMIT_S)
        shared.ask("POST", f"{shared.zone}/operations/{operation.json()['name']}/wait")


def test_ssh_is_refused_for_a_while(site: Site) -> None:
    site.fault("ssh_refused", match="instances/vm$", delay_s=1.0)
    with pytest.raises(SSH_FAILURES):
        asyncio.run(site.say())

    def answers() -> bool:
        try:
            return asyncio.run(site.say()) == "there"
        except SSH_FAILURES:
            return False

    until(answers)


def test_a_connection_is_lost_after_a_number_of_bytes(site: Site) -> None:
    async def read_much() -> tuple[int, int | None]:
        """Return the number of bytes received, and the exit status."""
        async with site.connect() as connection:
            result = await connection.run("head -c 1000000 /dev/zero", encoding=None)
        return len(result.stdout or b""), result.exit_status

    site.fault("ssh_cut", match="instances/vm$", after_bytes=50_000)
    length, exit_status = asyncio.run(read_much())
    assert (length < 50_000, exit_status) == (True, None)
    assert asyncio.run(read_much()) == (1_000_000, 0)


def test_connections_are_lost_now(site: Site) -> None:
    async def lose() -> None:
        async with site.connect() as connection, connection.create_process("sleep 600") as process:
            await asyncio.to_thread(site.fault, "ssh_drop", match="instances/vm$")
            async with asyncio.timeout(LIMIT_S):
                await connection.wait_closed()
            assert process.returncode is None

    asyncio.run(lose())
    assert asyncio.run(site.say()) == "there"


def test_an_instance_that_hangs_does_not_respond_and_can_be_deleted(site: Site) -> None:
    async def hang() -> None:
        ticking = "while sleep 0.05; do echo tick; done"
        async with site.connect() as connection, connection.create_process(ticking) as process:
            assert await process.stdout.readline() == "tick\n"
            await asyncio.to_thread(site.fault, "hang", match="instances/vm$")
            with pytest.raises(TimeoutError):
                while True:
                    await asyncio.wait_for(process.stdout.readline(), 1.0)
            connection.abort()

    asyncio.run(hang())
    with pytest.raises(SSH_FAILURES):
        asyncio.run(site.say(limit_s=1.0))
    assert site.status_of("vm") == "RUNNING"


def test_files_on_a_full_disk_cannot_grow(site: Site) -> None:
    async def write(command: str) -> int:
        async with site.connect() as connection:
            return int((await connection.run(command)).exit_status or 0)

    site.fault("full_disk", match="instances/vm$")
    assert asyncio.run(write("echo text > file")) != 0
    site.fault("full_disk", match="instances/vm$", full=False)
    assert asyncio.run(write("echo text > file")) == 0


def test_preemption_reaches_the_guest_before_the_end(site: Site) -> None:
    async def notice() -> str:
        ask = shlex.quote(f"{ask_metadata('preempted')}; exit")
        command = f"trap {ask} TERM; echo ready; while :; do sleep 0.1; done"
        async with (
            site.connect() as connection,
            connection.create_process(f"bash -c {shlex.quote(command)}") as process,
        ):
            assert await process.stdout.readline() == "ready\n"
            await asyncio.to_thread(site.fault, "preempt", match="instances/vm$", notice_s=20)
            async with asyncio.timeout(LIMIT_S):
                return str(await process.stdout.read()).strip()

    assert asyncio.run(notice()) == "TRUE"
    until(lambda: site.status_of("vm") == "TERMINATED")


def test_a_stockout_and_a_quota_are_errors_of_their_operations(site: Site) -> None:
    site.fault("stockout", match="instances/none$", details=True, zones_available=["europe-west4-c"])
    (stockout,) = site.insert("none")["errors"]
    assert stockout["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
    site.fault("quota", match="instances/none$")
    (quota,) = site.insert("none")["errors"]
    assert (quota["code"], quota["errorDetails"][0]["quotaInfo"]["limit"]) == ("QUOTA_EXCEEDED", 8.0)
    assert site.status_of("none") == ""


@pytest.fixture
def bucket(site: Site) -> Any:
    options: dict[str, Any] = {"api_endpoint": site.endpoint.url}
    credentials = Credentials(token=site.endpoint.read_token())
    client = Client(project=site.endpoint.project, credentials=credentials, client_options=options)
    found = client.bucket("results")
    if not found.exists():
        found.create(location="europe-west4")
    yield found
    client.close()


def test_the_storage_client_survives_failed_requests(site: Site, bucket: Any) -> None:
    bucket.blob("a").upload_from_string(b"text")
    for status in (429, 500, 503):
        site.fault("http", match="/results/o", status=status, times=2)
        assert bucket.get_blob("a").size == 4
    site.fault("drop", match="GET .*/results/o")
    assert bucket.get_blob("a").size == 4
    assert site.ask("GET", "/_local/faults")["faults"] == []


def test_the_storage_client_sends_a_cut_upload_again(site: Site, bucket: Any) -> None:
    content = b"x" * 3_000_000
    site.fault("drop_upload", match="/upload/", after_bytes=1_000_000)
    bucket.blob("cut").upload_from_string(content, if_generation_match=0)
    assert bucket.blob("cut").download_as_bytes() == content
    assert site.ask("GET", "/_local/faults")["faults"] == []


def test_a_grant_that_takes_effect_late(site: Site) -> None:
    """A VM's own service account, asking with the token of its metadata server."""
    email = "late-grants@local-project.iam.gserviceaccount.com"
    site.ask("POST", "/iam/v1/projects/local-project/serviceAccounts", {"accountId": "late-grants"})
    account = {"email": email, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
    assert site.insert("worker", serviceAccounts=[account]) == {}

    async def token() -> str:
        async with site.connect("worker") as connection:
            shown = await connection.run(ask_metadata("service-accounts/default/token"), check=True)
        return str(json.loads(str(shown.stdout))["access_token"])

    header = {"Authorization": f"Bearer {asyncio.run(token())}"}

    def may_list() -> bool:
        answer = requests.get(f"{site.endpoint.url}{site.zone}/instances", headers=header, timeout=LIMIT_S)
        assert answer.status_code in (200, 403)
        return answer.status_code == 200

    site.fault("iam_delay", match="projects/local-project$", delay_s=1000)
    policy = {"bindings": [{"role": "roles/compute.viewer", "members": [f"serviceAccount:{email}"]}]}
    site.ask("POST", "/cloudresourcemanager/v1/projects/local-project:setIamPolicy", {"policy": policy})
    assert not may_list()
    site.fault("clock", jump_s=1001)
    until(may_list)
    site.fault("clock", jump_s=-1001)


def test_a_killed_cloud_leaves_no_process_of_its_instances(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    site = Site(state=state, endpoint=control.start(state), key=asyncssh.generate_private_key("ssh-ed25519"))
    try:
        site.insert("goes", scheduling=spot(instanceTerminationAction="DELETE"))
        site.insert("stays")
        family = psutil.Process(site.endpoint.pid).children(recursive=True)
        assert len(family) >= 2
        step = {"at": "request GET .*/zones$", "fault": {"kind": "kill"}}
        site.ask("POST", "/_local/scenario", {"scenario": [step]})
        with pytest.raises(requests.ConnectionError):
            url = f"{site.endpoint.url}/compute/v1/projects/local-project/zones"
            requests.get(url, headers=site.endpoint.headers, timeout=LIMIT_S)
        until(lambda: control.status(state) is None)
        until(lambda: not any(process.is_running() and process.status() != "zombie" for process in family))
        site.endpoint = control.start(state)
        assert (site.status_of("goes"), site.status_of("stays")) == ("", "TERMINATED")
        assert site.ask("GET", "/_local/scenario") == {"scenario": []}
    finally:
        control.stop(state)
