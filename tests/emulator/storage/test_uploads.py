"""Uploads that are slow, stall, or arrive at the same time: they delay no other request, and overwrite no object unnoticed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from runner.emulator.storage.object_bodies import IN_MEMORY_BYTES, Body
from runner.errors import CloudError
from tests.emulator.batch_cloud import COPY, BatchCloud, multipart, open_batch_cloud
from tests.emulator.conftest import LIMIT_S, Json

_O = "/storage/v1/b/results/o"
_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def batch_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchCloud]:
    with open_batch_cloud(tmp_path_factory.mktemp("batch_cloud") / "state") as opened:
        yield opened


class SlowUpload:
    """A request whose body is sent piece by piece."""

    def __init__(self, batch_cloud: BatchCloud, method: str, path: str, headers: Json) -> None:
        place = batch_cloud.cloud.url.removeprefix("http://")
        host, port = place.split(":")
        self._connection = socket.create_connection((host, int(port)), LIMIT_S)
        told = {"Host": place, "Transfer-Encoding": "chunked", "Connection": "close", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode())

    def send(self, piece: bytes) -> None:
        self._connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    def end(self) -> None:
        """Send the end of the body."""
        self._connection.sendall(b"0\r\n\r\n")

    def status(self) -> int:
        """Return the status of the answer, and close."""
        with self._connection, self._connection.makefile("rb") as answer:
            return int(answer.readline().split()[1])

    def close(self) -> None:
        self._connection.close()


def write(batch_cloud: BatchCloud, name: str, content: bytes, headers: Json | None = None) -> requests.Response:
    path = f"/upload{_O}?uploadType=media&name={name}"
    return batch_cloud.send("POST", path, headers or batch_cloud.cloud.owner, data=content)


def read(batch_cloud: BatchCloud, name: str) -> bytes:
    return batch_cloud.send("GET", f"{_O}/{name}?alt=media", batch_cloud.cloud.owner).content


def begin(batch_cloud: BatchCloud, kind: str, name: str) -> tuple[str, str, Json, bytes]:
    """Return method, path, headers and body of an upload by the VM."""
    path = f"/upload{_O}?uploadType={kind}&name={name}"
    if kind == "resumable":
        answer = batch_cloud.send("POST", path, batch_cloud.vm)
        return "PUT", answer.headers["Location"].removeprefix(batch_cloud.cloud.url), batch_cloud.vm, b"from the VM" * 9
    if kind == "multipart":
        sent = multipart("{}")
        return "POST", path, {**batch_cloud.vm, **sent["headers"]}, sent["data"]
    return "POST", path, batch_cloud.vm, b"from the VM" * 9


@pytest.mark.parametrize("kind", ["media", "multipart", "resumable"])
def test_an_object_written_during_a_slow_upload_is_not_overwritten(batch_cloud: BatchCloud, kind: str) -> None:
    method, path, headers, content = begin(batch_cloud, kind, f"lease-{kind}")
    slow = SlowUpload(batch_cloud, method, path, headers)
    slow.send(content[:-20])
    assert write(batch_cloud, f"lease-{kind}", b"from the owner").status_code == 200
    slow.send(content[-20:])
    slow.end()
    assert slow.status() == 403
    assert read(batch_cloud, f"lease-{kind}") == b"from the owner"


@pytest.mark.parametrize("kind", ["media", "multipart", "resumable"])
def test_a_stalled_upload_delays_no_other_request(batch_cloud: BatchCloud, kind: str) -> None:
    method, path, headers, content = begin(batch_cloud, kind, f"stalled-{kind}")
    with contextlib.closing(SlowUpload(batch_cloud, method, path, headers)) as slow:
        slow.send(content[:-20])
        assert write(batch_cloud, f"other-{kind}", b"other").status_code == 200
        assert write(batch_cloud, f"stalled-{kind}", b"same").status_code == 200
        assert read(batch_cloud, f"other-{kind}") == b"other"
        assert batch_cloud.cloud.get(_O)["items"]
    assert read(batch_cloud, f"stalled-{kind}") == b"same"


def test_of_many_uploads_that_end_at_once_one_succeeds_and_the_others_are_rejected(batch_cloud: BatchCloud) -> None:
    """Between the check for an existing object and the write, no other upload writes it."""
    uploads = []
    for kind in ("media", "multipart", "resumable") * 5:
        method, path, headers, content = begin(batch_cloud, kind, "first")
        uploads.append(SlowUpload(batch_cloud, method, path, headers))
        uploads[-1].send(content)
    for upload in uploads:
        upload.end()
    assert sorted(upload.status() for upload in uploads) == [200, *[403] * 14]


def test_copies_and_composes_also_check_and_write_atomically(batch_cloud: BatchCloud) -> None:
    routes: list[tuple[str, Json]] = [
        (COPY.format(source="results/o/mine", target="results/o/copied"), {}),
        (f"{_O}/copied/compose", {"json": {"sourceObjects": [{"name": "mine"}]}}),
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda route: batch_cloud.send("POST", route[0], batch_cloud.vm, **route[1]), routes * 4)
    assert sorted(answer.status_code for answer in answers) == [200, *[403] * 7]


def test_preconditions_of_an_upload_must_still_hold_when_it_ends(batch_cloud: BatchCloud) -> None:
    path = f"/upload{_O}?uploadType=resumable&name=once&ifGenerationMatch=0"
    uri = (
        batch_cloud.send("POST", path, batch_cloud.cloud.owner).headers["Location"].removeprefix(batch_cloud.cloud.url)
    )
    assert write(batch_cloud, "once", b"first").status_code == 200
    assert batch_cloud.send("PUT", uri, batch_cloud.cloud.owner, data=b"second").status_code == 412
    assert read(batch_cloud, "once") == b"first"


def test_a_forbidden_upload_is_rejected_before_it_is_sent(batch_cloud: BatchCloud) -> None:
    path = "/upload/storage/v1/b/elsewhere/o?uploadType="
    named = json.dumps({"name": "new"})
    for kind, start in (("media&name=new", b""), ("multipart", multipart(named)["data"])):
        headers = {**batch_cloud.vm, **multipart(named)["headers"]}
        slow = SlowUpload(batch_cloud, "POST", path + kind, headers)
        slow.send(start or b"x")
        assert slow.status() == 403


def test_a_large_upload_is_read_back_unchanged_and_leaves_no_files(batch_cloud: BatchCloud) -> None:
    content = bytes(range(256)) * (8 * _MIB // 256) + b"end"
    before = {file.name for file in batch_cloud.cloud.settings.state.iterdir()}
    assert write(batch_cloud, "large", content, batch_cloud.vm).status_code == 200
    assert read(batch_cloud, "large") == content
    assert {file.name for file in batch_cloud.cloud.settings.state.iterdir()} == before


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY_BYTES - 1, IN_MEMORY_BYTES, IN_MEMORY_BYTES + 1, 3 * IN_MEMORY_BYTES])
def test_a_body_is_read_as_it_was_added(tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)

    async def pass_on() -> bytes:
        with Body(tmp_path) as body:
            for start in range(0, size, 65521):
                await body.add(content[:size][start : start + 65521])
            assert body.size == size
            return b"".join([piece async for piece in body.read()])

    assert asyncio.run(pass_on()) == content[:size]
    assert list(tmp_path.iterdir()) == []


def test_a_body_of_any_size_is_in_little_memory(tmp_path: Path) -> None:
    async def pass_on() -> int:
        before, most = psutil.Process().memory_info().rss, 0
        with Body(tmp_path) as body:
            for _ in range(256):
                await body.add(bytes(_MIB))
            async for _ in body.read():
                most = max(most, psutil.Process().memory_info().rss)
        return most - before

    assert asyncio.run(pass_on()) < 32 * _MIB


def test_a_full_disk_is_reported() -> None:
    async def fill() -> None:
        with Body(Path("/no/such/folder")) as body, pytest.raises(CloudError, match="internal error: No such file"):
            await body.add(bytes(IN_MEMORY_BYTES))

    asyncio.run(fill())
