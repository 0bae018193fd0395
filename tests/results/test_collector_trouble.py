"""Corrupt results, disks without room, threads that cannot be started: reported, and nothing else is held up or lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import CloudError, DiskError
from runner.model import names
from runner.model.events import Event, Listener
from runner.results.collector import Collector
from runner.results.corrupt_pushes import CorruptPushError
from runner.results.store import ResultSet
from runner.results.tracker import DownloadTracker
from tests.disks import largest_file
from tests.results.collecting import LIMIT_S, Reported, damage, make_collector, running, until
from tests.support.bucket import FILES, Batch, Site, new_batch

# ---------------------------------------------------------------- damage


def test_a_corrupt_set_is_reported_once_and_mended_by_a_later_push(batch: Batch) -> None:
    batch.push("a")
    batch.push("b")
    damage(batch)
    reported = Reported()
    collector = make_collector(batch, reported)
    assert [downloaded.job for downloaded in collector.finish(is_over=False).downloaded] == ["b"]
    assert [downloaded.job for downloaded in collector.finish(is_over=False).downloaded] == ["b"]
    assert sorted(reported.states()) == ["corrupt", "downloaded"]
    assert len(batch.objects()) == 3, "it is kept"
    batch.push("a", push=2)
    collected = collector.finish()
    assert [(downloaded.job, downloaded.push) for downloaded in collected.downloaded] == [("a", 2), ("b", 1)]
    assert batch.at_home()["a"] == dict(FILES)
    assert (batch.objects(), collected.unfinished) == ([], ())


def test_a_wait_for_a_corrupt_push_ends_and_the_next_push_can_be_waited_for(batch: Batch) -> None:
    batch.push("a")
    damage(batch)
    collector = make_collector(batch, Reported())
    with running(collector):
        with pytest.raises(CorruptPushError, match="corrupt") as first:
            collector.wait_downloaded("a", 1, timeout_s=LIMIT_S)
        assert first.value.push == 1
    batch.push("a", push=2)
    batch.put("a", names.MANIFEST, b"[]", push=2)
    with running(collector):
        with pytest.raises(CorruptPushError) as second:
            collector.wait_downloaded("a", 1, timeout_s=LIMIT_S, least_push=2)
        assert second.value.push == 2
        batch.push("a", push=3)
        downloaded = collector.wait_downloaded("a", 1, timeout_s=LIMIT_S, least_push=3)
    assert downloaded is not None and downloaded.push == 3


def test_corrupt_sets_are_reported_at_the_end(batch: Batch) -> None:
    batch.push("a")
    damage(batch)
    reported = Reported()
    collected = make_collector(batch, reported).finish()
    assert list(collected.corrupt) == [f"{batch.name}/a/attempt-1/"]
    assert reported.states() == ["corrupt"]
    assert len(batch.objects()) == 3
    assert batch.at_home() == {}


def test_a_corrupt_set_that_was_replaced_is_tried_again(batch: Batch) -> None:
    batch.push("a")
    damage(batch)
    collector = make_collector(batch, Reported())
    assert collector.finish(is_over=False).downloaded == ()
    batch.push("a")
    assert [downloaded.job for downloaded in collector.finish(is_over=False).downloaded] == ["a"]


# ---------------------------------------------------------------- a full disk


def _noise(size: int) -> bytes:
    return os.urandom(size)


@pytest.mark.parametrize("files", [{"noise": _noise(100_000)}, {"zeros": bytes(10_000_000)}], ids=["archive", "file"])
def test_a_full_disk_stops_the_end_without_loss(batch: Batch, files: dict[str, bytes]) -> None:
    for number in range(3):
        batch.push(f"job-{number}", files)
    reported = Reported()
    collector = make_collector(batch, reported)
    with largest_file(50_000), pytest.raises(DiskError, match="File too large"):
        collector.finish()
    assert reported.states() == ["paused"]
    assert len(batch.objects()) == 9
    assert batch.at_home() == {}
    assert [path for path in batch.folder.rglob("*") if path.is_file() and path.stat().st_size > 4096] == []
    assert len(collector.finish().downloaded) == 3
    assert batch.at_home() == {f"job-{number}": files for number in range(3)}


def test_downloads_resume_when_the_disk_has_room_again(batch: Batch) -> None:
    for number in range(3):
        batch.push(f"job-{number}", {"noise": _noise(100_000)})
    reported = Reported()
    collector = make_collector(batch, reported)
    with contextlib.ExitStack() as limit:
        limit.enter_context(largest_file(50_000))
        with running(collector):
            with pytest.raises(DiskError):
                collector.wait_downloaded("job-0", 1, timeout_s=LIMIT_S)
            limit.close()
            until(lambda: len(batch.at_home()) == 3)
    assert reported.states()[:2] == ["paused", "resumed"]
    assert reported.states().count("paused") == 1


def _fails_once(step: str, error: Exception) -> Callable[[str, ResultSet], None]:
    """For ``on_step``."""
    left = [error]

    def on_step(done: str, found: ResultSet) -> None:
        if done == step and left:
            raise left.pop()

    return on_step


@pytest.mark.parametrize("step", ["claimed", "copied"])
def test_every_disk_error_is_reported_and_tried_again(batch: Batch, step: str) -> None:
    batch.push("a")
    reported = Reported()
    collector = make_collector(batch, reported, on_step=_fails_once(step, OSError(errno.EIO, "Input/output error")))
    with running(collector):
        until(lambda: "downloaded" in reported.states())
    assert reported.states() == ["paused", "resumed", "downloaded"]
    (paused,) = [event for event in reported.events if event.as_json().get("state") == "paused"]
    assert "Input/output error" in paused.as_json()["message"]


def test_a_set_that_a_fault_of_ours_keeps_back_stops_no_other(batch: Batch) -> None:
    batch.push("a")
    reported = Reported()
    collector = make_collector(batch, reported, on_step=_fails_once("claimed", KeyError("an unexpected error")))
    with running(collector):
        until(lambda: bool(reported.warnings()))
        batch.push("b")
        until(lambda: reported.states() == ["downloaded", "downloaded"])
    assert len(reported.warnings()) == 1
    assert "an unexpected error" in reported.warnings()[0]


TOO_MUCH = 1 << 46


def test_sets_without_a_thread_are_downloaded_in_the_end(batch: Batch) -> None:
    for job in "ab":
        batch.push(job)
    stop, hurry = threading.Event(), threading.Event()
    warnings: list[str] = []

    def on_progress(event: Event) -> None:
        if event.kind == "warning":
            warnings.append(event.as_json()["message"])
            stop.set()

    collector = Collector(
        batch.context.cloud.results, batch.name, DownloadTracker(batch.folder), Listener(on_progress=on_progress)
    )
    usual = threading.stack_size(TOO_MUCH)  # so that no thread can be started
    try:
        collector.run(stop)
    finally:
        threading.stack_size(usual)
    assert ["can't start new thread" in warning for warning in warnings] == [True]
    watchdog = threading.Timer(LIMIT_S, hurry.set)
    watchdog.start()
    collected = collector.finish(hurry=hurry)
    watchdog.cancel()
    assert [downloaded.job for downloaded in collected.downloaded] == ["a", "b"]


def _claim(batch: Batch, job: str, size: int) -> None:
    """A set whose manifest says that its one file has this many bytes."""
    batch.push(job, {"noise": os.urandom(4 << 20)})
    (found,) = batch.store.result_sets(batch.name, job=job, attempt=1)
    assert found.archive is not None
    values = {"size": found.archive.size, "crc32c": found.archive.crc32c}
    manifest = {"format": 1, "archive": values, "files": [{"path": "huge", "size": size, "crc32c": "AAAAAA=="}]}
    batch.put(job, names.MANIFEST, json.dumps(manifest).encode())


def test_a_set_that_needs_more_room_than_there_is_fills_no_disk_and_keeps_no_other_back(batch: Batch) -> None:
    batch.folder.mkdir(parents=True)
    _claim(batch, "a", min(shutil.disk_usage(batch.folder).free * 2, 32_000 * (4 << 20)))
    for number in range(10):
        batch.push(f"big-{number}", {"noise": os.urandom(5 << 20)})
    reported = Reported()
    collector = make_collector(batch, reported)
    with running(collector):
        with pytest.raises(DiskError, match="MB needed"):
            collector.wait_downloaded("a", 1, timeout_s=LIMIT_S)
        for number in range(10):
            assert collector.wait_downloaded(f"big-{number}", 1, timeout_s=LIMIT_S) is not None
    assert (reported.states().count("too big"), reported.states().count("paused")) == (1, 0)
    with pytest.raises(DiskError, match="MB needed"):
        make_collector(batch, Reported()).finish()
    assert len(batch.objects()) == 3


def test_what_no_archive_can_hold_is_corrupt_and_keeps_no_other_back(batch: Batch) -> None:
    _claim(batch, "a", 1 << 60)
    batch.push("b")
    reported = Reported()
    collected = make_collector(batch, reported).finish()
    assert [downloaded.job for downloaded in collected.downloaded] == ["b"]
    assert list(collected.corrupt) == [f"{batch.name}/a/attempt-1/"]


def test_a_folder_that_cannot_be_created_is_reported(bucket_site: Site, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    batch = new_batch(bucket_site, tmp_path / "results")
    batch.push("a")
    with pytest.raises(DiskError):
        make_collector(batch, Reported()).finish()
    assert len(batch.objects()) == 3
    batch.store.close()


def test_an_error_of_the_listing_is_raised_at_the_end(batch: Batch) -> None:
    batch.site.fault(kind="http", status=403, match=r"GET /storage/v1/b/[^/]+/o\?")
    with pytest.raises(CloudError):
        make_collector(batch, Reported()).finish()
