"""The lease as a VM understands it, on clocks of the test's own; VM and client use the same format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from packer.vm.lib.opensees_hpc import workspaces
from packer.vm.lib.opensees_hpc.job_end import read_end
from packer.vm.lib.opensees_hpc.lease import Duty, Lease, LeaseReader, LeaseWatch, Sight, parse_lease
from packer.vm.lib.opensees_hpc.vm_cloud import RefusedError, Reply, UnreachableError
from runner.model import lease as ours
from runner.model import names
from runner.results.manifest import read_manifest

GRACE_S = 300.0
START = 1000.0


def sight(length_s: float = 600.0, age_s: float = 0.0, **more: Any) -> Sight:
    said: dict[str, Any] = {"is_detached": False, "deadlines": {}} | more
    return Sight(lease=Lease(length_s=length_s, **said), age_s=age_s)


@pytest.fixture
def watch() -> LeaseWatch:
    return LeaseWatch(grace_s=GRACE_S, now=START)


def test_a_lease_lasts_from_its_renewal(watch: LeaseWatch) -> None:
    watch.see(sight(600, 100), START)
    assert watch.left_s(START) == 500
    assert watch.duty(START + 499) is Duty.WORK
    assert watch.duty(START + 501) is Duty.END
    watch.see(sight(600, 0), START + 502)
    assert watch.duty(START + 503) is Duty.WORK


def test_the_vm_waits_for_a_lease_that_was_never_written(watch: LeaseWatch) -> None:
    watch.miss()
    assert watch.duty(START + 299) is Duty.WORK
    assert watch.duty(START + 301) is Duty.END


def test_a_lease_that_is_removed_lasts_as_long_as_it_was_said_to(watch: LeaseWatch) -> None:
    watch.see(sight(600), START)
    watch.miss()
    assert watch.duty(START + 599) is Duty.WORK
    assert watch.duty(START + 601) is Duty.END


def test_an_unreadable_lease_has_not_expired(watch: LeaseWatch) -> None:
    watch.see(sight(600), START)
    watch.fail(START + 550)
    watch.fail(START + 700)
    assert watch.duty(START + 849) is Duty.WORK
    assert watch.duty(START + 851) is Duty.END
    watch.see(sight(600, 0), START + 852)
    watch.fail(START + 1500)
    assert watch.duty(START + 1799) is Duty.WORK


def test_an_unreadable_lease_does_not_shorten_a_known_one(watch: LeaseWatch) -> None:
    watch.see(sight(6000), START)
    watch.fail(START + 1)
    assert watch.duty(START + 5999) is Duty.WORK


def test_running_jobs_of_a_detached_batch_end(watch: LeaseWatch) -> None:
    watch.see(sight(60, is_detached=True), START)
    assert [watch.duty(START + after) for after in (59, 61, 1e6)] == [Duty.WORK, Duty.DRAIN, Duty.DRAIN]


class Bucket:
    """One object, as Cloud Storage describes it, on a server whose clock differs from all others."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.generation = 1
        self.updated = datetime(2031, 1, 1, tzinfo=UTC)
        self.now = self.updated
        self.reads: list[str] = []

    def read_object(self, bucket: str, name: str, **query: str) -> Reply:
        self.reads.append(query.get("alt", "about"))
        assert (bucket, name) == ("results", names.lease_object("b1"))
        if self.content is None:
            raise RefusedError(404, "not found")
        about = {"generation": str(self.generation), "updated": self.updated.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")}
        body = self.content if "alt" in query else json.dumps(about).encode()
        return Reply(body=body, served_s=self.now.timestamp())


def test_age_and_length_come_from_one_clock_each() -> None:
    bucket = Bucket()
    reader = LeaseReader(bucket, "results", "b1")
    assert reader.look() is None
    written = ours.new_lease("b1", "you@here", datetime(2001, 1, 1, tzinfo=UTC), 600)
    written = written.restate(deadlines={"a": 5.0})
    bucket.content = written.as_json()
    bucket.now = bucket.updated + timedelta(seconds=42)
    seen = reader.look()
    assert seen is not None
    assert seen.lease == Lease(length_s=600, is_detached=False, deadlines={"a": 5.0})
    assert seen.age_s == pytest.approx(41.9, abs=0.1)


def test_the_content_is_read_only_when_it_changes() -> None:
    bucket = Bucket()
    reader = LeaseReader(bucket, "results", "b1")
    bucket.content = ours.new_lease("b1", "you@here", datetime.now(UTC), 600).as_json()
    reader.look()
    reader.look()
    bucket.generation += 1
    reader.look()
    assert bucket.reads == ["about", "media", "about", "about", "media"]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b'{"format": 2}', b"[]", b"[" * 1500 + b"]" * 1500),
        b'{"format": 1, "renewed": "2026-11-22T10:00:00+00:00", "expires": 1e999}',
        b'{"format": 1, "renewed": "2026-11-22T10:00:00+00:00", "expires": NaN}',
        b'{"format": 1, "renewed": "2026-11-22T10:00:00+00:00", "expires": 1, "deadlines": {"a": NaN}}',
    ],
)
def test_an_invalid_lease_is_rejected(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_lease(content)


def test_a_failed_read_is_not_taken_for_a_missing_lease() -> None:
    class Trouble:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def read_object(self, bucket: str, name: str, **query: str) -> Reply:
            raise self.error

    for error in (UnreachableError("no network"), RefusedError(403, "denied")):
        with pytest.raises(type(error)):
            LeaseReader(Trouble(error), "results", "b1").look()


@pytest.mark.parametrize(
    "folder",
    [names.attempt_folder("pushover", 2), names.attempt_folder("x.a1", 3), "x.a1.push-2", "x", ".a1", "x.a", "x.a²"],
)
def test_the_vm_and_the_client_use_the_same_folder_for_an_attempt(folder: str) -> None:
    assert (workspaces.job_of_attempt(folder) or None) == (names.read_attempt_folder(folder) or (None,))[0]


def test_the_end_of_a_job_is_read_and_understood_by_the_client(tmp_path: Path) -> None:
    (tmp_path / ".job").mkdir()
    assert read_end(tmp_path) is None
    (tmp_path / ".job/end").write_text("ended 0 1 10.5 12.75 0m1.500s 0m0.250s\n")
    end = read_end(tmp_path)
    assert end == {"how": "ended", "exit_code": 0, "wall_s": 2.25, "core_s": 1.75}
    found = read_manifest({"format": 1, "archive": {"size": 0, "crc32c": ""}, "files": [], "end": end}).end
    assert found is not None
    assert vars(found) == end
    (tmp_path / ".job/end").write_text("lost - 0 10.5 12.75 - -\n")
    assert read_end(tmp_path) == {"how": "lost", "exit_code": None, "wall_s": 2.25, "core_s": None}
