"""Other users of the same computer: what the embedded cloud writes, what its ports answer, and where the objects are.

Only root can become another user. So most tests are the other way round: code that is configured to belong to another user gets
our requests. Where the tests run as root, a process of another user tries every port and file as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
import requests

from runner.emulator import control
from runner.emulator.control.endpoint import Endpoint
from runner.emulator.iam.peers import is_own_connection, user_of
from runner.emulator.machines.metadata_server import MetadataServer
from runner.emulator.provider import server
from runner.emulator.provider.stubs import provider_pb2, provider_pb2_grpc
from runner.emulator.state.owner import make_owner_token, owner_token_file
from runner.emulator.storage.object_store import CLOSED_PORT, ObjectStore
from tests.emulator.conftest import LIMIT_S, CloudUnderTest, vm_body

NOBODY = 65534
SOMEBODY_ELSE = os.geteuid() + 1
TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
FLAVOR = {"Metadata-Flavor": "Google"}

#: Python that becomes another user, tries every port and file, and prints each answer.
INTRUDER = """
import http.client, json, os, socket, sys
nobody, token_file, front, metadata, token_path, store_port = sys.argv[1:]
"x".encode("idna")  # loaded while it can be read
os.setgroups([])
os.setgid(int(nobody))
os.setuid(int(nobody))

def ask(place, path, headers):
    host, port = place.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status

def read(file):
    try:
        return open(file).read()
    except OSError as error:
        return type(error).__name__

def knock(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return "open"
    except OSError as error:
        return type(error).__name__

print(json.dumps([
    read(token_file),
    ask(front, "/_local/status", {}),
    ask(metadata, token_path, {"Metadata-Flavor": "Google"}),
    knock(int(store_port)),
]))
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Endpoint]]:
    """Yield a cloud in a process of its own, in a folder that everybody could read before."""
    state = tmp_path_factory.mktemp("shared") / "cloud"
    state.mkdir(mode=0o755)
    yield state, control.start(state, timeout_s=LIMIT_S)
    control.stop(state)


def test_the_token_is_in_one_file_that_its_user_can_read(running: tuple[Path, Endpoint]) -> None:
    state, endpoint = running
    file = owner_token_file(state)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    token = endpoint.read_token()
    assert len(token) > 40
    holders = [one for one in state.rglob("*") if one.is_file() and token.encode() in one.read_bytes()]
    assert holders == [file]


def test_the_token_is_in_no_command_line_and_no_environment(running: tuple[Path, Endpoint]) -> None:
    _, endpoint = running
    process = psutil.Process(endpoint.pid)
    for one in (process, *process.children(recursive=True)):
        shown = "\n".join([*one.cmdline(), *one.environ().values()])
        assert endpoint.read_token() not in shown


def modes_below(top: Path) -> dict[str, int]:
    return {str(one.relative_to(top)): stat.S_IMODE(one.lstat().st_mode) for one in top.rglob("*")}


def test_in_an_open_state_folder_only_files_of_instances_are_open(tmp_path: Path) -> None:
    """Accept files of instances with open modes, as on a VM: they are only reachable through closed folders."""
    tmp_path.chmod(0o755)
    state = tmp_path / "local" / "cloud"
    before = os.umask(0o022)
    try:
        endpoint = control.start(state, timeout_s=LIMIT_S)
        insert_vm(endpoint)
        bucket = f"{endpoint.url}/storage/v1/b?project={endpoint.project}"
        requests.post(bucket, json={"name": "results"}, headers=endpoint.headers, timeout=LIMIT_S).raise_for_status()
        upload = f"{endpoint.url}/upload/storage/v1/b/results/o?uploadType=media&name=a/b"
        requests.post(upload, data=b"x", headers=endpoint.headers, timeout=LIMIT_S).raise_for_status()
        modes = modes_below(tmp_path)
    finally:
        control.stop(state)
        os.umask(before)
    roots = {name: mode for name, mode in modes.items() if "/root" in name}
    assert {name: oct(mode) for name, mode in modes.items() if name not in roots and mode & 0o077} == {}
    assert {"local", "local/.cloud.lock", "local/cloud/ports.json", "local/cloud/objects/results/a/b"} <= set(modes)
    (disk,) = (str(root.relative_to(tmp_path)) for root in state.glob("disks/*/root"))
    inside = {"": 0o755, "/etc": 0o755, "/tmp": 0o1777, "/etc/os-release": 0o644, "/etc/hostname": 0o644}
    assert {name: roots[disk + name] for name in inside} == inside


def insert_vm(endpoint: Endpoint) -> str:
    """Create ``vm``, wait for it, and return the URL of its zone."""
    zone = f"{endpoint.url}/compute/v1/projects/{endpoint.project}/zones/{endpoint.zone}"
    body = vm_body("vm", serviceAccounts=[{"email": "default", "scopes": ["cloud-platform"]}])
    operation = requests.post(f"{zone}/instances", json=body, headers=endpoint.headers, timeout=LIMIT_S).json()
    wait = f"{zone}/operations/{operation['name']}/wait"
    assert requests.post(wait, headers=endpoint.headers, timeout=LIMIT_S).json().get("error") is None
    return zone


def test_the_token_survives_a_restart_and_each_cloud_has_its_own(tmp_path: Path) -> None:
    first = make_owner_token(tmp_path / "one")
    assert make_owner_token(tmp_path / "one") == first
    assert make_owner_token(tmp_path / "two") != first


def test_a_token_that_was_readable_is_closed(tmp_path: Path) -> None:
    make_owner_token(tmp_path / "one")
    owner_token_file(tmp_path / "one").chmod(0o644)
    make_owner_token(tmp_path / "one")
    assert stat.S_IMODE(owner_token_file(tmp_path / "one").stat().st_mode) == 0o600


# ---------------------------------------------------------------- the user of a connection


def test_the_user_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            ends = client.getsockname(), listener.getsockname()
            assert user_of(*ends) == os.geteuid()
            assert is_own_connection(*ends)
            assert not is_own_connection(*ends, uid=SOMEBODY_ELSE)
        assert not is_own_connection(("127.0.0.1", 1), listener.getsockname())


def test_a_connection_that_its_client_has_closed_has_no_user() -> None:
    """Ignore that the kernel reports root for it: a client that sends something and leaves would be served as root."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ends = client.getsockname(), listener.getsockname()
        client.sendall(b"x")
        served, _ = listener.accept()
        with served:
            client.close()
            assert user_of(*ends) is None
            assert not is_own_connection(*ends)
            assert not is_own_connection(*ends, uid=0)


def test_the_user_of_a_connection_of_an_ipv6_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        assert user_of(("127.0.0.1", client.getsockname()[1]), listener.getsockname()) == os.geteuid()


def ask_provider(port: int) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        return str(stub.GetSchema(provider_pb2.GetSchemaRequest(), timeout=LIMIT_S).schema)


def test_the_provider_serves_engines_of_its_own_user() -> None:
    ours, theirs = (
        server.start("http://127.0.0.1:9", token="t", project="p", region="r", zone="z", uid=uid)
        for uid in (os.geteuid(), SOMEBODY_ELSE)
    )
    try:
        assert json.loads(ask_provider(ours.port))["name"] == "gcp"
        with pytest.raises(grpc.RpcError) as caught:
            ask_provider(theirs.port)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    finally:
        ours.stop()
        theirs.stop()


@pytest.mark.parametrize(
    ("uid", "headers", "status"),
    [
        (None, {}, 200),
        (SOMEBODY_ELSE, {}, 403),
        (None, {"Origin": "https://example.com"}, 403),
        (None, {"Sec-Fetch-Site": "cross-site"}, 403),
        (None, {"Host": "example.com"}, 421),
    ],
)
def test_a_metadata_server_serves_processes_of_its_own_user(
    cloud: CloudUnderTest, uid: int | None, headers: dict[str, str], status: int
) -> None:
    cloud.insert_vm("vm", serviceAccounts=[{"email": "default", "scopes": ["cloud-platform"]}])
    key = "projects/local-project/zones/europe-west4-a/instances/vm"

    async def ask() -> int:
        metadata = MetadataServer(key=key, address="127.0.0.1", cloud=cloud.hypervisor.view, uid=uid)
        await metadata.start()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{metadata.host}{TOKEN_PATH}", headers={**FLAVOR, **headers})
        await metadata.close()
        return answer.status_code

    assert asyncio.run(ask()) == status


# ---------------------------------------------------------------- the object store


def answers(url: str) -> bool:
    """Return whether a URL responds, to a client that checks certificates."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=LIMIT_S).ok
        except requests.RequestException:
            return False


def test_nobody_can_bypass_the_proxy_of_the_object_store(tmp_path: Path) -> None:
    """Accept, where the system does not allow a network namespace, that only web pages are kept out, by the certificate."""

    async def look() -> None:
        store = ObjectStore(tmp_path / "objects", public_host="127.0.0.1:9")
        await store.start()
        await store.make_bucket("b")
        assert not await store.holds_objects("b")
        assert not await asyncio.to_thread(answers, f"{store.url}/storage/v1/b")
        if store.is_closed:
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", CLOSED_PORT), 5)
        await store.stop()

    asyncio.run(look())


def test_the_object_store_without_a_network_of_its_own(tmp_path: Path) -> None:
    async def look() -> None:
        store = ObjectStore(tmp_path / "objects", public_host="127.0.0.1:9")
        await store._launch_open()
        assert (store.is_closed, store.url.startswith("https://")) == (False, True)
        await store.make_bucket("b")
        assert not await store.holds_objects("b")
        for url in (store.url, store.url.replace("https", "http")):
            assert not await asyncio.to_thread(answers, f"{url}/storage/v1/b")
        await store.stop()

    (tmp_path / "objects").mkdir()
    asyncio.run(look())


# ---------------------------------------------------------------- another user in fact


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_can_access_nothing(running: tuple[Path, Endpoint]) -> None:
    state, endpoint = running
    zone = insert_vm(endpoint)
    metadata = metadata_place(zone, endpoint)
    assert requests.get(f"http://{metadata}{TOKEN_PATH}", headers=FLAVOR, timeout=LIMIT_S).status_code == 200
    front = endpoint.url.removeprefix("http://")
    seen = (str(owner_token_file(state)), front, metadata, TOKEN_PATH, str(CLOSED_PORT))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", INTRUDER, str(NOBODY), *seen], capture_output=True)
    store = "ConnectionRefusedError" if endpoint.objects_closed else "open"
    assert (json.loads(done.stdout or b"null"), done.stderr) == (["PermissionError", 401, 403, store], b"")


def metadata_place(zone: str, endpoint: Endpoint) -> str:
    """Return address and port of the metadata server of ``vm``: the listener on its address besides SSH."""
    instance = requests.get(f"{zone}/instances/vm", headers=endpoint.headers, timeout=LIMIT_S).json()
    address = instance["networkInterfaces"][0]["accessConfigs"][0]["natIP"]
    found = (one.laddr for one in psutil.net_connections("tcp4") if one.status == psutil.CONN_LISTEN)
    listening = [(str(one[0]), int(one[1])) for one in found if one]
    (port,) = {port for ip, port in listening if ip == address and port != endpoint.ssh_port}
    return f"{address}:{port}"
