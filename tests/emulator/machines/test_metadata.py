"""The metadata server of an emulated instance."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from .lab import SERVICE_ACCOUNT, Lab, open_lab

FLAVOR = {"Metadata-Flavor": "Google"}
V1 = "/computeMetadata/v1"


async def find_server(lab: Lab) -> httpx.AsyncClient:
    """Return a client of a new instance's metadata server."""
    spec = await lab.boot()
    async with lab.connect(spec) as connection:
        host = (await connection.run("printf %s $GCE_METADATA_HOST")).stdout
    return httpx.AsyncClient(base_url=f"http://{host!s}", headers=FLAVOR, trust_env=False, timeout=60)


def test_flavor_is_required_and_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, await find_server(lab) as client:
            ping = await client.get("/", headers={"Metadata-Flavor": ""})
            assert (ping.status_code, ping.headers["Metadata-Flavor"]) == (200, "Google")
            without = await client.get(f"{V1}/instance/name", headers={"Metadata-Flavor": ""})
            assert without.status_code == 403
            forwarded = await client.get(f"{V1}/instance/name", headers={"X-Forwarded-For": "1.2.3.4"})
            assert forwarded.status_code == 403
            assert (await client.post(f"{V1}/instance/name")).status_code == 405

    asyncio.run(scenario())


def test_leaves_and_directories(tmp_path: Path) -> None:
    expected: Mapping[str, tuple[int, str]] = {
        "/project/project-id": (200, "local-project"),
        "/project/attributes/team": (200, "structures"),
        "/instance/name": (200, "m-0"),
        "/instance/machine-type": (200, "projects/1/machineTypes/n2-standard-2"),
        "/instance/preempted": (200, "FALSE"),
        "/instance/attributes/enable-oslogin": (200, "TRUE"),
        "/instance/attributes/": (200, "enable-guest-attributes\nenable-oslogin\nmy_Key\n"),
        "/instance/network-interfaces/0/access-configs/0/external-ip": (200, "127.0.0.9"),
        "/instance/service-accounts/": (200, f"default/\n{SERVICE_ACCOUNT}/\n"),
        "/instance/service-accounts/default/email": (200, SERVICE_ACCOUNT),
        "/instance/service-accounts/default/scopes": (200, "scope-a\nscope-b\n"),
        "/instance/attributes/none": (404, ""),
        "/instance/name/": (404, ""),
        "/instance/service-accounts/other@x/token": (404, ""),
    }

    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, await find_server(lab) as client:
            lab.cloud.attributes["my_Key"] = "x"
            for path, (status, text) in expected.items():
                answer = await client.get(V1 + path)
                assert (path, answer.status_code, answer.text if status == 200 else "") == (path, status, text)
            moved = await client.get(f"{V1}/instance/attributes")
            assert (moved.status_code, moved.headers["Location"]) == (301, f"{V1}/instance/attributes/")

    asyncio.run(scenario())


def test_recursive(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, await find_server(lab) as client:
            account = (await client.get(f"{V1}/instance/service-accounts/default/?recursive=true")).json()
            assert account == {"aliases": ["default"], "email": SERVICE_ACCOUNT, "scopes": ["scope-a", "scope-b"]}
            whole = (await client.get(f"{V1}/?recursive=true&alt=json")).json()
            assert whole["project"]["projectId"] == "local-project"
            assert whole["instance"]["serviceAccounts"].keys() == {"default", SERVICE_ACCOUNT}
            text = (await client.get(f"{V1}/project/?recursive=true&alt=text")).text
            assert text.splitlines() == [
                "attributes/team structures",
                "numeric-project-id 1",
                "project-id local-project",
            ]

    asyncio.run(scenario())


def test_wait_for_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, await find_server(lab) as client:
            url = f"{V1}/instance/preempted"
            now = await client.get(url)
            timed_out = await client.get(f"{url}?wait_for_change=true&timeout_sec=0")
            assert timed_out.text == "FALSE"
            waiting = asyncio.create_task(client.get(f"{url}?wait_for_change=true"))
            lab.cloud.instance["preempted"] = True
            old = await client.get(f"{url}?wait_for_change=true&last_etag={now.headers['ETag']}")
            assert old.text == "TRUE"
            waiting.cancel()

    asyncio.run(scenario())


def test_a_waiting_client_is_notified_of_a_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, await find_server(lab) as client:
            url = f"{V1}/instance/attributes/lease"
            lab.cloud.attributes["lease"] = "1"
            etag = (await client.get(url)).headers["ETag"]
            waiting = asyncio.create_task(client.get(f"{url}?wait_for_change=true&last_etag={etag}"))
            assert (await client.get(url)).text == "1"
            assert not waiting.done()
            lab.cloud.attributes["lease"] = "2"
            assert (await waiting).text == "2"

    asyncio.run(scenario())


def test_guest_attributes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab, await find_server(lab) as client:
            url = f"{V1}/instance/guest-attributes"
            assert (await client.put(f"{url}/ns/key", content="välue")).status_code == 200
            assert lab.cloud.guest["projects/p/zones/z/instances/m-0"]["ns"] == {"key": "välue"}
            assert (await client.get(f"{url}/ns/key")).text == "välue"
            assert (await client.get(f"{url}/")).text == "hostkeys/\nns/\n"
            assert (await client.delete(f"{url}/ns/key")).status_code == 200
            assert (await client.get(f"{url}/ns/key")).status_code == 404
            assert (await client.put(f"{url}/ns", content="x")).status_code == 405
            assert (await client.put(f"{url}/ns/key", content="x" * 300_000)).status_code == 413
            lab.cloud.attributes["enable-guest-attributes"] = "FALSE"
            assert (await client.get(f"{url}/")).status_code == 403

    asyncio.run(scenario())


GOOGLE_AUTH = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import google.auth
from google.auth import compute_engine
from google.auth.transport.requests import Request
found, project = google.auth.default()
own = compute_engine.Credentials()
own.refresh(Request())
print(json.dumps([type(found).__module__, project, own.token, own.service_account_email]))
"""


def test_google_auth_finds_its_credentials_inside(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_lab(tmp_path) as lab:
            spec = await lab.boot()
            (spec.root / "tmp/auth.py").write_text(GOOGLE_AUTH)
            async with lab.connect(spec) as connection:
                paths = json.dumps(sys.path)
                done = await connection.run(f"{sys.executable} -I $TMPDIR/auth.py '{paths}'")
            assert done.exit_status == 0, done.stderr
            module, project, token, email = json.loads(str(done.stdout))
            assert module == "google.auth.compute_engine.credentials"
            assert (project, token, email) == ("local-project", f"token-of-{spec.key}", SERVICE_ACCOUNT)

    asyncio.run(scenario())
