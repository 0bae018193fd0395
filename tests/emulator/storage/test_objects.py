"""Buckets and objects through the stock client, and the front's own checks."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import httpx
import psutil
import pytest
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.oauth2.credentials import Credentials
from starlette.requests import Request

from runner.emulator.storage import object_connections
from runner.emulator.storage.object_proxy import shown_headers
from runner.emulator.storage.object_store import ObjectStore
from tests.emulator.conftest import CloudUnderTest, until

MIB = 1024 * 1024


@pytest.fixture
def client(cloud: CloudUnderTest) -> Iterator[storage.Client]:
    options = ClientOptions(api_endpoint=cloud.url)
    made = storage.Client(project="local-project", credentials=Credentials(token=cloud.token), client_options=options)
    yield made
    made.close()


@pytest.fixture
def bucket(client: storage.Client) -> Any:
    made = client.bucket("results")
    made.iam_configuration.uniform_bucket_level_access_enabled = True
    return client.create_bucket(made, location="europe-west4")


def crc32c_of(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()


def test_bucket_life(client: storage.Client, bucket: Any) -> None:
    assert (bucket.location, bucket.location_type) == ("EUROPE-WEST4", "region")
    assert bucket.iam_configuration.uniform_bucket_level_access_enabled
    bucket.labels = {"app": "opensees-hpc"}
    bucket.add_lifecycle_delete_rule(age=30)
    bucket.patch()
    again = client.get_bucket("results")
    assert again.labels == {"app": "opensees-hpc"}
    assert [rule["condition"] for rule in again.lifecycle_rules] == [{"age": 30}]
    assert [one.name for one in client.list_buckets()] == ["results"]
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("results")
    bucket.blob("x").upload_from_string("x")
    with pytest.raises(exceptions.Conflict, match="not empty"):
        bucket.delete()
    bucket.blob("x").delete()
    bucket.delete()
    assert client.lookup_bucket("results") is None


@pytest.mark.parametrize("size", [0, 1, 3 * MIB + 17])
def test_an_object_is_read_back_unchanged(bucket: Any, size: int) -> None:
    content = os.urandom(size)
    blob = bucket.blob("batch/job #1/ünï code?&=.bin")
    blob.upload_from_string(content, content_type="application/octet-stream")
    blob.reload()
    assert (blob.size, blob.crc32c) == (size, crc32c_of(content))
    assert bucket.blob(blob.name).download_as_bytes() == content
    assert [one.name for one in bucket.list_blobs(prefix="batch/")] == [blob.name]


def test_resumable_upload_in_chunks(bucket: Any) -> None:
    content = os.urandom(3 * MIB)
    blob = bucket.blob("big.bin", chunk_size=MIB)
    blob.upload_from_string(content)
    assert bucket.blob("big.bin").download_as_bytes(start=MIB, end=MIB + 9) == content[MIB : MIB + 10]
    assert bucket.get_blob("big.bin").crc32c == crc32c_of(content)


def test_preconditions(bucket: Any) -> None:
    blob = bucket.blob("once")
    blob.upload_from_string("a", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("once").upload_from_string("b", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("once").delete(if_generation_match=1)
    first = bucket.get_blob("once").generation
    bucket.blob("once").upload_from_string("c", if_generation_match=first)
    assert bucket.blob("once").download_as_bytes() == b"c"
    assert bucket.get_blob("once").generation != first


def test_precondition_of_a_simple_upload(cloud: CloudUnderTest, bucket: Any) -> None:
    url = f"{cloud.url}/upload/storage/v1/b/results/o"
    query = {"uploadType": "media", "name": "once", "ifGenerationMatch": "0"}
    codes = [cloud.session.post(url, params=query, data=b"a").status_code for _ in range(2)]
    assert codes == [200, 412]


def test_batch_delete_and_list(client: storage.Client, bucket: Any) -> None:
    for number in range(12):
        bucket.blob(f"p/{number:02}").upload_from_string(str(number))
    pages = bucket.list_blobs(prefix="p/", page_size=5).pages
    assert [blob.name for page in pages for blob in page] == [f"p/{number:02}" for number in range(12)]
    with client.batch():
        for number in range(6):
            bucket.delete_blob(f"p/{number:02}")
    assert len(list(bucket.list_blobs(prefix="p/"))) == 6


def test_transfer_manager(bucket: Any, tmp_path: Path) -> None:
    names = [f"{number}.txt" for number in range(40)]
    (tmp_path / "out").mkdir()
    for name in names:
        (tmp_path / name).write_text(name * 100)
    worker = transfer_manager.THREAD
    uploaded = transfer_manager.upload_many_from_filenames(
        bucket, names, source_directory=str(tmp_path), worker_type=worker, max_workers=4
    )
    loaded = transfer_manager.download_many_to_path(
        bucket, names, destination_directory=str(tmp_path / "out"), worker_type=worker, max_workers=4
    )
    assert [*uploaded, *loaded] == [None] * 80
    assert all((tmp_path / "out" / name).read_text() == name * 100 for name in names)


def test_missing_object_and_bucket(cloud: CloudUnderTest, client: storage.Client, bucket: Any) -> None:
    with pytest.raises(exceptions.NotFound, match="No such object: results/none"):
        bucket.blob("none").download_as_bytes()
    with pytest.raises(exceptions.NotFound, match="bucket does not exist"):
        client.bucket("no-such-bucket").blob("x").upload_from_string("x")
    assert bucket.get_blob("none") is None
    assert cloud.refused("GET", "/storage/v1/b/results/o/none")[:2] == (404, "notFound")


def test_bucket_policy(bucket: Any) -> None:
    policy = bucket.get_iam_policy(requested_policy_version=3)
    member = "serviceAccount:x@local-project.iam.gserviceaccount.com"
    policy.bindings.append({"role": "roles/storage.objectUser", "members": {member}})
    bucket.set_iam_policy(policy)
    assert bucket.get_iam_policy(requested_policy_version=3).bindings[0]["members"] == {member}
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.set_iam_policy(policy)
    assert bucket.test_iam_permissions(["storage.objects.get"]) == ["storage.objects.get"]


def store_processes(cloud: CloudUnderTest) -> list[psutil.Process]:
    """Return the object store of this cloud, and the gate in front of it, which is its parent."""
    folder = str(cloud.settings.state / "objects")
    return [one for one in psutil.Process().children(recursive=True) if folder in command_of(one)]


def command_of(process: psutil.Process) -> list[str]:
    """Return nothing for a process that has ended, perhaps just now."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@pytest.mark.parametrize("who", ["gate", "store"])
def test_an_object_store_that_dies_is_restarted(cloud: CloudUnderTest, bucket: Any, who: str) -> None:
    bucket.blob("kept").upload_from_string("kept")
    before = store_processes(cloud)
    assert len(before) == 2
    before[("gate", "store").index(who)].kill()

    def is_back() -> bool:
        answer = cloud.session.get(f"{cloud.url}/storage/v1/b/results/o/kept", params={"alt": "media"})
        return not set(before) & set(store_processes(cloud)) and answer.content == b"kept"

    until(is_back)


def test_an_object_store_that_is_just_being_restarted_ends_with_its_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "silent.py"
    silent.write_text("import socket, sys\nsocket.socket(fileno=int(sys.argv[1])).recv(1)\n")

    def gates() -> list[psutil.Process]:
        return [one for one in psutil.Process().children(recursive=True) if str(silent) in command_of(one)]

    async def stop_while_it_starts() -> None:
        store = ObjectStore(tmp_path / "objects", public_host="127.0.0.1:1")
        await store.start()
        monkeypatch.setattr(object_connections, "GATE_SCRIPT", silent)
        for one in psutil.Process().children():
            if str(tmp_path) in " ".join(command_of(one)):
                one.kill()
        await asyncio.to_thread(until, gates)
        await store.stop()

    asyncio.run(stop_while_it_starts())
    assert not gates()


def test_an_upload_continues_at_the_front_however_the_object_store_is_reached() -> None:
    """If the object store is behind TLS, its own address of the upload has https."""
    answer = httpx.Response(200, headers={"location": "https://127.0.0.1:1/upload/x?upload_id=7"})
    asked = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": [(b"host", b"127.0.0.1:5")]}
    assert shown_headers(answer, Request(asked))["location"] == "http://127.0.0.1:5/upload/x?upload_id=7"
