"""push-results against a real storage server, with a VM's metadata server beside it."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from packer.vm.lib.opensees_hpc.archive import Sink, pack_files
from packer.vm.lib.opensees_hpc.bucket import UnreachableError
from packer.vm.lib.opensees_hpc.job_files import Selection, list_files, why_not_read
from packer.vm.lib.opensees_hpc.push import Push as PushOrder
from packer.vm.lib.opensees_hpc.push import Retry, push_results
from runner.model.names import COMMIT_MARKER, MANIFEST, RESULTS_ARCHIVE
from runner.results.manifest import read_manifest, unpack_archive
from tests.disks import largest_file
from tests.packer.conftest import LIMIT_S, Ended, RunCommand
from tests.packer.storage import TOKEN, Storage, crc32c, serve_storage

PREFIX = "batch/job/attempt-1/"
ALL = sorted(PREFIX + name for name in (RESULTS_ARCHIVE, MANIFEST, COMMIT_MARKER))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with serve_storage(tmp_path / "storage") as started:
        yield started


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    (folder / "out").mkdir(parents=True)
    (folder / "main.tcl").write_text("puts hello\n")
    (folder / "out" / "disp.out").write_bytes(b"0.1 2.0\n" * 1000)
    (folder / "empty").touch()
    return folder


class Push:
    """Pushes a folder and parses the one line of output."""

    def __init__(self, run: RunCommand, storage: Storage) -> None:
        self._run = run
        self._storage = storage

    def __call__(self, folder: Path, *arguments: str, prefix: str = PREFIX, bucket: str = "results") -> Ended:
        where = ("--bucket", bucket, "--prefix", prefix, "--dir", str(folder))
        return self._run("push-results", *where, *arguments, **self._storage.environment())


@pytest.fixture
def push(run_command: RunCommand, storage: Storage) -> Push:
    return Push(run_command, storage)


def fetch(storage: Storage, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """Return the manifest, and the files as the client unpacks and verifies them."""
    manifest = json.loads(storage.read(PREFIX + MANIFEST))
    archive = tmp_path / "fetched.tar.zst"
    archive.write_bytes(storage.read(PREFIX + RESULTS_ARCHIVE))
    unpack_archive(archive, read_manifest(manifest), tmp_path / "fetched")
    return manifest, tmp_path / "fetched"


def test_a_job_arrives_whole(push: Push, storage: Storage, job: Path, tmp_path: Path) -> None:
    ended = push(job)
    assert ended.exit_code == 0, ended
    answer = json.loads(ended.output)
    assert storage.names() == ALL
    manifest, fetched = fetch(storage, tmp_path)
    assert manifest["format"] == 1
    assert manifest["archive"] == answer["archive"]
    assert [item["path"] for item in manifest["files"]] == ["empty", "main.tcl", "out/disp.out"]
    assert manifest["files"][1] == {"path": "main.tcl", "size": 11, "crc32c": crc32c(b"puts hello\n")}
    assert (fetched / "out" / "disp.out").read_bytes() == (job / "out" / "disp.out").read_bytes()
    assert storage.read(PREFIX + COMMIT_MARKER) == b""
    assert (answer["event"], answer["files"], answer["bytes"]) == ("pushed", 3, 8011)
    assert storage.faults.tokens_seen >= {f"Bearer {TOKEN}"}


def test_pushing_again_changes_nothing(push: Push, storage: Storage, job: Path) -> None:
    assert push(job).exit_code == 0
    before = {name: storage.read(name) for name in storage.names()}
    again = push(job)
    assert again.exit_code == 0, again
    assert json.loads(again.output)["was_there"] is True
    assert {name: storage.read(name) for name in storage.names()} == before


def test_other_results_are_never_overwritten(push: Push, storage: Storage, job: Path) -> None:
    assert push(job).exit_code == 0
    before = storage.read(PREFIX + RESULTS_ARCHIVE)
    (job / "main.tcl").write_text("puts changed\n")
    ended = push(job)
    assert ended.exit_code == 5
    assert "already exists with other content" in json.loads(ended.output)["message"]
    assert storage.read(PREFIX + RESULTS_ARCHIVE) == before


def test_an_interrupted_push_is_completed(push: Push, storage: Storage, job: Path, tmp_path: Path) -> None:
    paths, skipped = list_files(job, Selection())
    archive = io.BytesIO()
    pack_files(job, paths, skipped, archive)
    storage.write(PREFIX + RESULTS_ARCHIVE, archive.getvalue())
    assert push(job).exit_code == 0
    assert storage.names() == ALL
    fetch(storage, tmp_path)


@pytest.mark.parametrize("statuses", [[503, 0, 500, 429], [403], [0, 0, 0]])
def test_temporary_faults_are_retried(statuses: list[int], push: Push, storage: Storage, job: Path) -> None:
    storage.faults.statuses += statuses
    ended = push(job)
    assert ended.exit_code == 0, ended
    assert storage.faults.statuses == []
    assert storage.names() == ALL


@pytest.mark.parametrize(("status", "exit_code"), [(403, 4), (401, 4), (503, 6)])
def test_lasting_faults_end_with_the_budget(
    status: int, exit_code: int, push: Push, storage: Storage, job: Path
) -> None:
    storage.faults.statuses += [status] * 500
    ended = push(job, "--budget-s", "1")
    assert ended.exit_code == exit_code, ended
    assert json.loads(ended.output)["event"] == "failed"
    assert storage.names() == []


def test_a_wrong_bucket_or_folder_is_named(push: Push, job: Path, tmp_path: Path) -> None:
    assert push(tmp_path / "nowhere").exit_code == 66
    missing = push(job, "--budget-s", "1", bucket="no-such-bucket")
    assert missing.exit_code == 4
    assert "no such bucket" in missing.output


HOSTILE = [
    b"new\nline",
    b"-rf",
    b"--help",
    "grün €.out".encode(),
    b"latin-\xe4.out",
    b"..hidden",
    b"back\\slash",
    b"$(reboot)",
    b"tab\there",
    b"\xf0\x9f\x98\x80",
    b"x" * 255,
    b"trailing ",
    b"quote\"'",
]


def test_hostile_names_arrive(push: Push, storage: Storage, job: Path, tmp_path: Path) -> None:
    deep = job / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    for name in HOSTILE:
        (deep / os.fsdecode(name)).write_bytes(name)
    assert push(job).exit_code == 0
    _manifest, fetched = fetch(storage, tmp_path)
    arrived = {os.fsencode(path.name): path.read_bytes() for path in (fetched / deep.relative_to(job)).iterdir()}
    assert arrived == {name: name for name in HOSTILE}


def test_files_that_are_not_results_are_not_pushed(push: Push, storage: Storage, job: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret")
    (tmp_path / "folder").mkdir()
    (job / ".job").mkdir()
    for name in (".job/token", ".job/log", "core.1", "out/big.tmp"):
        (job / name).write_text(name)
    (job / "link-out").symlink_to(outside)
    (job / "link-folder").symlink_to(tmp_path / "folder")
    (job / "link-nowhere").symlink_to("nothing")
    (job / "link-in").symlink_to("out/disp.out")
    os.mkfifo(job / "pipe")
    ended = push(job, "--exclude", "*.tmp", "--exclude", "core.*", "--include", ".job/log")
    assert ended.exit_code == 0
    manifest, fetched = fetch(storage, tmp_path)
    packed = [item["path"] for item in manifest["files"]]
    assert packed == [".job/log", "empty", "link-in", "main.tcl", "out/disp.out"]
    assert (fetched / "link-in").read_bytes() == (job / "out" / "disp.out").read_bytes()
    skipped = {item["path"]: item["reason"] for item in json.loads(ended.output)["skipped"]}
    assert skipped == {
        "link-out": "a link that leads out of the job folder",
        "link-folder": "a link that leads out of the job folder",
        "link-nowhere": "gone, or a link to nothing",
        "pipe": "not a regular file",
    }
    assert manifest["skipped"] == json.loads(ended.output)["skipped"]


def test_a_full_disk_does_not_stop_a_push(opensees_prefix: Path, storage: Storage, job: Path, tmp_path: Path) -> None:
    (job / "random").write_bytes(os.urandom(20_000_000))
    storage.faults.statuses += [403]  # after which the push says that it tries again
    command = opensees_prefix / "bin" / "push-results"
    words = [str(command), "--bucket", "results", "--prefix", PREFIX, "--dir", str(job)]
    # Whatever the push would write to a file, its own output too, fails from the first byte on. (Python ignores the signal.)
    with (tmp_path / "after.log").open("wb") as log, largest_file(0):
        done = subprocess.run(
            words, env={**os.environ, **storage.environment()}, stdout=log, stderr=log, timeout=LIMIT_S, check=False
        )
    assert (done.returncode, (tmp_path / "after.log").read_text()) == (0, "")
    fetch(storage, tmp_path)


def test_an_unreadable_file_is_reported_and_the_rest_arrives(
    push: Push, storage: Storage, job: Path, tmp_path: Path
) -> None:
    (job / "loop").symlink_to("loop")
    ended = push(job)
    assert ended.exit_code == 3
    assert json.loads(ended.output)["skipped"][0]["reason"].startswith("cannot be read")
    assert storage.names() == ALL
    fetch(storage, tmp_path)


class GrowingSink:
    """A sink in place of the network; while the archive is written to it, the files change."""

    def __init__(self, folder: Path) -> None:
        self.content = b""
        self._folder = folder

    def write(self, data: bytes, /) -> int:
        if not self.content:
            with (self._folder / "b-grows").open("ab") as file:
                file.write(b"more")
            os.truncate(self._folder / "c-shrinks", 5)
            (self._folder / "d-vanishes").unlink()
        self.content += bytes(data)
        return len(data)


def test_the_manifest_describes_what_was_packed(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "a").write_bytes(os.urandom(20_000_000))
    for name in ("b-grows", "c-shrinks", "d-vanishes"):
        (folder / name).write_bytes(b"0123456789")
    paths, skipped = list_files(folder, Selection())
    sink = GrowingSink(folder)
    packed = pack_files(folder, paths, skipped, sink)
    (tmp_path / "archive").write_bytes(sink.content)
    unpack_archive(tmp_path / "archive", read_manifest(json.loads(packed.manifest())), tmp_path / "fetched")
    assert sorted(packed.files) == ["a", "b-grows", "c-shrinks"]
    assert [(item.path, item.reason) for item in packed.skipped] == [("d-vanishes", "gone, or a link to nothing")]


def test_a_hard_link_to_another_users_file_is_not_a_result(tmp_path: Path) -> None:
    """A user may create a hard link to a file that only root may read, and root may run the push."""
    ours = tmp_path.stat()

    def file(uid: int, links: int, kind: int = stat.S_IFREG) -> os.stat_result:
        return os.stat_result((kind | 0o600, 1, 1, links, uid, 0, 1, 0, 0, 0))

    assert why_not_read(file(ours.st_uid, 1), ours) == ""
    assert why_not_read(file(ours.st_uid, 2), ours) == "", "an engine may write so"
    assert why_not_read(file(ours.st_uid + 1, 1), ours) == "", "a job may have used sudo"
    assert why_not_read(file(ours.st_uid + 1, 2), ours) == "a hard link to a file of another user"
    assert why_not_read(file(ours.st_uid, 1, stat.S_IFIFO), ours) == "not a regular file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_hard_link_to_roots_file_is_not_pushed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "job", tmp_path / "shadow"
    folder.mkdir()
    secret.write_text("root:secret")
    for name in ("linked", "own"):
        (folder / name).write_text("mine")
        os.chown(folder / name, 54321, 54321)
    os.chown(folder, 54321, 54321)
    paths, skipped = list_files(folder, Selection())
    (folder / "linked").unlink()  # after it was listed
    (folder / "linked").hardlink_to(secret)
    packed = pack_files(folder, paths, skipped, None)
    assert list(packed.files) == ["own"]
    assert [(item.path, item.reason, item.is_loss) for item in packed.skipped] == [
        ("linked", "a hard link to a file of another user", False)
    ]
    assert list_files(folder, Selection())[0] == ["own"]


def test_a_link_that_replaced_a_listed_file_is_not_followed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "job", tmp_path / "outside" / "file"
    (folder / "out").mkdir(parents=True)
    secret.parent.mkdir()
    secret.write_text("secret")
    for name in ("file", "out/file", "own"):
        (folder / name).write_text("mine")
    paths, skipped = list_files(folder, Selection())
    (folder / "file").unlink()
    (folder / "file").symlink_to(secret)
    (folder / "out").rename(folder / "moved")
    (folder / "out").symlink_to(secret.parent)
    packed = pack_files(folder, paths, skipped, None)
    assert list(packed.files) == ["own"]
    assert {item.reason for item in packed.skipped} == {"a link that leads out of the job folder"}


def test_a_large_file_that_shrinks_keeps_the_archive_whole(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    large = folder / "large"
    large.write_bytes(os.urandom(40_000_000))

    class ShrinkingSink(io.BytesIO):
        def write(self, data: Any, /) -> int:
            os.truncate(large, 10_000_000)
            return super().write(data)

    sink = ShrinkingSink()
    packed = pack_files(folder, ["large"], [], sink)
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(sink.getvalue())).read()
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        member = tar.extractfile("large")
        assert member is not None
        content = member.read()
    assert len(content) == 40_000_000 == packed.files["large"].size
    assert crc32c(content) == packed.files["large"].crc32c


def test_the_same_files_give_the_same_archive(job: Path) -> None:
    paths, skipped = list_files(job, Selection())
    assert pack_files(job, paths, skipped, None) == pack_files(job, paths, skipped, None)


class WeakBucket:
    """A slow bucket, which breaks off the archive after this many bytes of each try."""

    def __init__(self, *gives_up_after: int) -> None:
        self.tries = 0
        self._gives_up_after = list(gives_up_after)

    def create_streamed(self, name: str, fill: Callable[[Sink], None]) -> None:
        self.tries += 1
        time.sleep(2 * BUDGET_S)
        fill(self._sink(self._gives_up_after.pop(0)) if self._gives_up_after else io.BytesIO())

    def create(self, name: str, content: bytes, content_type: str) -> None:
        """Raise ExistsError: the object is there."""

    def look_at(self, name: str) -> None:
        return None

    def _sink(self, most: int) -> Sink:
        class Weak(io.BytesIO):
            def write(self, data: Any, /) -> int:
                if self.tell() >= most:
                    raise UnreachableError("enough")
                return super().write(data)

        return Weak()


BUDGET_S = 0.2


def _push_to(bucket: WeakBucket, job: Path) -> None:
    order = PushOrder(folder=job, prefix=PREFIX, selection=Selection())
    push_results(order, bucket, Retry(budget_s=BUDGET_S, first_pause_s=0.01))


def test_time_in_which_a_push_advances_does_not_count(job: Path) -> None:
    (job / "random").write_bytes(os.urandom(4_000_000))
    bucket = WeakBucket(1, 1_000_000, 2_000_000)
    _push_to(bucket, job)
    assert bucket.tries == 4


def test_a_push_that_no_longer_advances_is_given_up(job: Path) -> None:
    (job / "random").write_bytes(os.urandom(4_000_000))
    bucket = WeakBucket(*[1_000_000] * 500)
    with pytest.raises(UnreachableError):
        _push_to(bucket, job)
    assert bucket.tries == 2
