"""Results come home while a batch runs: at once when wanted, once each, through faults, and with every damage told."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.commands.collect import Collector, bring_home, collect_rest
from runner.commands.damage import DamagedPushError
from runner.commands.events import Event, Listener
from runner.core.claims import FOLDER, claimed
from runner.core.download_tracker import DownloadTracker, HomeSet
from runner.core.results import CorruptResultsError
from runner.core.storage import ResultSet
from runner.errors import CloudError, DiskError, NotFoundError, PermissionDeniedError
from runner.model import names
from tests.core.bucket import FILES, Batch, Site, new_batch
from tests.disks import largest_file

LIMIT_S = 60.0


@dataclass(kw_only=True)
class Told:
    """What a listener was told."""

    events: list[Event] = field(default_factory=list)

    @property
    def listener(self) -> Listener:
        return Listener(on_progress=self.events.append)

    def states(self) -> list[str]:
        return [event.facts["state"] for event in self.events if event.event == "results"]

    def warnings(self) -> list[str]:
        return [event.facts["message"] for event in self.events if event.event == "warning"]


def _collector(batch: Batch, told: Told, **more: Any) -> Collector:
    return Collector(batch.context, batch.name, DownloadTracker(batch.folder), told.listener, **more)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@contextlib.contextmanager
def _running(collector: Collector) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=collector.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def _damage(batch: Batch, job: str = "a") -> None:
    batch.put(job, names.MANIFEST, b"{}")


# ---------------------------------------------------------------- poll and finish


def test_a_poll_brings_each_set_home_once(batch: Batch) -> None:
    told = Told()
    collector = _collector(batch, told)
    assert collector.poll_once() == []
    batch.push("a")
    batch.push("b")
    batch.push("c", parts="am")
    assert sorted(home.job for home in collector.poll_once()) == ["a", "b"]
    assert collector.poll_once() == []
    batch.push("c", parts="c")
    assert [home.job for home in collector.poll_once()] == ["c"]
    assert batch.at_home() == {job: dict(FILES) for job in "abc"}
    assert batch.objects() == []
    assert told.states() == ["home"] * 3


def test_the_end_tells_what_was_never_committed(batch: Batch) -> None:
    batch.push("whole")
    batch.push("no-marker", parts="am")
    batch.push("no-manifest", parts="a")
    told = Told()
    collected = _collector(batch, told).finish()
    assert [home.job for home in collected.home] == ["no-marker", "whole"]
    assert collected.unfinished == (f"{batch.name}/no-manifest/attempt-1/",)
    assert told.states().count("unfinished") == 1
    assert batch.objects() == []
    assert not (batch.folder / FOLDER).exists()


def test_the_end_of_looking_leaves_pushes_that_go_on(batch: Batch) -> None:
    batch.push("a")
    batch.push("b", parts="am")
    collected = _collector(batch, Told()).finish(is_over=False)
    assert [home.job for home in collected.home] == ["a"]
    assert collected.unfinished == (f"{batch.name}/b/attempt-1/",)
    assert len(batch.objects()) == 2


def test_an_attempt_that_was_given_up_does_not_displace_a_newer_one(batch: Batch) -> None:
    batch.push("a", {"which": b"2"}, attempt=2)
    collector = _collector(batch, Told())
    collector.poll_once()
    batch.push("a", {"which": b"1"}, attempt=1, parts="am")
    batch.push("a", {"which": b"3"}, attempt=3, parts="am")
    collector.finish()
    assert batch.at_home() == {"a": {"which": b"3"}, "a.attempt-2": {"which": b"2"}}
    assert batch.objects() == []


def test_control_objects_are_not_touched(batch: Batch) -> None:
    batch.store.put_control(batch.name, "lease.json", b"{}")
    batch.push("a")
    collect_rest(batch.context, batch.name, Listener())
    assert batch.store.list_control(batch.name) == ["lease.json"]


def test_what_a_crash_left_after_the_record_is_told_again_and_deleted(batch: Batch) -> None:
    batch.push("a")
    batch.site.fault(kind="http", status=403, match="DELETE", times=None)
    first = Told()
    assert _collector(batch, first).poll_once() == []
    assert first.warnings()
    batch.site.clear_faults()
    homes: list[HomeSet] = []
    told = Told()
    _collector(batch, told, on_home=homes.append).finish()
    assert told.states() == ["home"]
    assert [home.job for home in homes] == ["a"]
    assert batch.objects() == []


def test_one_attempt_is_fetched_on_demand(batch: Batch) -> None:
    batch.push("a")
    batch.push("b")
    (found, _) = batch.store.result_sets(batch.name)
    assert bring_home(batch.context, found, Listener()) == batch.folder / "a"
    assert bring_home(batch.context, found, Listener()) == batch.folder / "a"
    assert list(batch.at_home()) == ["a"]
    collector = _collector(batch, Told())
    with pytest.raises(NotFoundError):
        collector.fetch("none", 1)
    _damage(batch, "b")
    with pytest.raises(CorruptResultsError):
        collector.fetch("b", 1)


# ---------------------------------------------------------------- beside the batch


def test_what_is_wanted_comes_at_once_and_the_rest_by_itself(batch: Batch) -> None:
    told = Told()
    collector = _collector(batch, told)
    with _running(collector):
        for number in range(5):
            batch.push(f"job-{number}")
            home = collector.wait_home(f"job-{number}", 1, timeout_s=LIMIT_S)
            assert home is not None
            assert home.folder == batch.folder / f"job-{number}"
        batch.push("by-itself")
        _until(lambda: "by-itself" in batch.at_home())
        assert collector.wait_home("never", 1, timeout_s=0.2) is None
    _until(lambda: batch.objects() == [])
    assert told.states() == ["home"] * 6


def test_a_stop_in_the_middle_of_a_download_loses_nothing(batch: Batch) -> None:
    batch.push("a", {"big": bytes(range(256)) * 4000, "more": os.urandom(8 << 20)})
    batch.site.fault(kind="delay", match=r"GET .*results\.tar\.zst", delay_s=0.3)
    collector = _collector(batch, Told())
    with _running(collector):
        _until(lambda: (batch.folder / FOLDER / "a.attempt-1").exists())
    assert [home.job for home in collector.finish().home] == ["a"]
    assert len(batch.at_home()["a"]) == 2


def test_a_download_that_was_told_to_stop_does_not_go_on_with_the_end(batch: Batch) -> None:
    """The thread that polls may still be at a download when the end of the batch begins to bring home the rest."""
    batch.push("a", {"big": os.urandom(4 << 20)})
    is_begun, may_go_on = threading.Event(), threading.Event()
    copied_by: list[threading.Thread] = []

    def on_step(step: str, found: ResultSet) -> None:
        if step == "claimed" and not is_begun.is_set():
            stopped_by.append(threading.current_thread())
            is_begun.set()
            assert may_go_on.wait(LIMIT_S)
        if step == "copied":
            copied_by.append(threading.current_thread())

    stopped_by: list[threading.Thread] = []
    collector = _collector(batch, Told(), on_step=on_step)
    stop = threading.Event()
    poller = threading.Thread(target=collector.run, args=(stop,))
    poller.start()
    assert is_begun.wait(LIMIT_S)
    stop.set()
    homes: list[HomeSet] = []
    ending = threading.Thread(target=lambda: homes.extend(collector.finish().home))
    ending.start()
    may_go_on.set()
    ending.join(LIMIT_S)
    poller.join(LIMIT_S)
    assert [home.job for home in homes] == ["a"]
    assert copied_by and not set(copied_by) & set(stopped_by)


MANY = {f"out/{number}": b"%d" % number for number in range(2000)}


def test_a_stop_in_the_middle_of_unpacking_is_heeded_and_loses_nothing(batch: Batch) -> None:
    batch.push("a", MANY)
    unpacking = batch.folder / FOLDER / "a.attempt-1" / "unpacking"
    collector = _collector(batch, Told())
    with _running(collector):
        _until(lambda: len(list(unpacking.glob("out/*"))) > 10)
    assert batch.at_home() == {}
    assert [home.job for home in collector.finish().home] == ["a"]
    assert batch.at_home() == {"a": MANY}


def test_the_end_waits_for_what_is_still_unpacked_and_tells_it(batch: Batch) -> None:
    """A download that was told to stop and comes to its end all the same."""
    batch.push("a")
    is_unpacked, may_go_on = threading.Event(), threading.Event()

    def hold(step: str, found: ResultSet) -> None:
        if step == "unpacked":
            is_unpacked.set()
            assert may_go_on.wait(LIMIT_S)

    collector = _collector(batch, Told(), on_step=hold)
    stop = threading.Event()
    poller = threading.Thread(target=collector.run, args=(stop,))
    poller.start()
    assert is_unpacked.wait(LIMIT_S)
    stop.set()
    homes: list[str] = []
    ending = threading.Thread(target=lambda: homes.extend(home.job for home in collector.finish().home))
    ending.start()
    ending.join(0.5)
    assert ending.is_alive(), "it waits for what is not decided yet"
    may_go_on.set()
    for thread in (ending, poller):
        thread.join(LIMIT_S)
    assert homes == ["a"]
    assert batch.at_home() == {"a": dict(FILES)}


def test_an_end_in_a_hurry_leaves_in_the_bucket_what_is_not_home(batch: Batch) -> None:
    batch.push("a", MANY)
    batch.push("b", parts="am")
    hurry = threading.Event()

    def hasten(step: str, found: ResultSet) -> None:
        if step == "copied":
            hurry.set()

    collected = _collector(batch, Told(), on_step=hasten).finish(hurry=hurry)
    assert (collected.home, batch.at_home()) == ((), {})
    assert len(batch.objects()) == 5, "of b too, which may be whole"


def test_it_goes_on_after_an_outage(batch: Batch) -> None:
    told = Told()
    collector = _collector(batch, told)
    batch.push("a")
    batch.site.fault(kind="http", status=403, match=r"GET /storage/v1/b/[^/]+/o\?", times=2)
    with _running(collector):
        _until(lambda: bool(told.warnings()))
        assert collector.wait_home("a", 1, timeout_s=LIMIT_S) is not None
    assert len(told.warnings()) == 1


def test_the_end_survives_refusals_that_pass_and_not_others(batch: Batch) -> None:
    for number in range(6):
        batch.push(f"job-{number}")
    for match in ("GET .*manifest", r"GET .*results\.tar\.zst", "DELETE", r"GET /storage/v1/b/[^/]+/o\?"):
        batch.site.fault(kind="http", status=503, match=match, times=2)
        batch.site.fault(kind="drop", match=match, times=2)
    assert len(_collector(batch, Told()).finish().home) == 6
    batch.push("a")
    batch.site.fault(kind="http", status=403, reason="forbidden", match="GET .*manifest", times=None)
    with pytest.raises(PermissionDeniedError):
        _collector(batch, Told()).finish()
    assert len(batch.objects()) == 3


def test_the_end_waits_for_another_process(batch: Batch) -> None:
    batch.push("a")
    batch.folder.mkdir(parents=True)
    collector = _collector(batch, Told())
    done: list[int] = []
    with claimed(batch.folder, "a.attempt-1"):
        thread = threading.Thread(target=lambda: done.append(len(collector.finish().home)))
        thread.start()
        assert thread.is_alive()
        assert batch.at_home() == {}
    thread.join(LIMIT_S)
    assert done == [1]


# ---------------------------------------------------------------- damage


def test_damage_is_told_once_and_mended_by_a_later_push(batch: Batch) -> None:
    batch.push("a")
    batch.push("b")
    _damage(batch)
    told = Told()
    collector = _collector(batch, told)
    assert [home.job for home in collector.poll_once()] == ["b"]
    assert collector.poll_once() == []
    assert sorted(told.states()) == ["corrupt", "home"]
    assert len(batch.objects()) == 3, "it is kept"
    batch.push("a", push=2)
    assert [home.push for home in collector.poll_once()] == [2]
    collected = collector.finish()
    assert batch.at_home()["a"] == dict(FILES)
    assert (batch.objects(), collected.unfinished) == ([], ())


def test_who_waits_for_a_damaged_push_hears_of_it_and_can_wait_for_the_next(batch: Batch) -> None:
    batch.push("a")
    _damage(batch)
    collector = _collector(batch, Told())
    with _running(collector):
        with pytest.raises(DamagedPushError, match="damaged") as first:
            collector.wait_home("a", 1, timeout_s=LIMIT_S)
        assert first.value.push == 1
    batch.push("a", push=2)
    batch.put("a", names.MANIFEST, b"[]", push=2)
    with _running(collector):
        with pytest.raises(DamagedPushError) as second:
            collector.wait_home("a", 1, timeout_s=LIMIT_S, least_push=2)
        assert second.value.push == 2
        batch.push("a", push=3)
        home = collector.wait_home("a", 1, timeout_s=LIMIT_S, least_push=3)
    assert home is not None and home.push == 3


def test_damage_that_nobody_can_mend_is_told_at_the_end(batch: Batch) -> None:
    batch.push("a")
    _damage(batch)
    told = Told()
    collected = _collector(batch, told).finish()
    assert list(collected.corrupt) == [f"{batch.name}/a/attempt-1/"]
    assert told.states() == ["corrupt"]
    assert len(batch.objects()) == 3
    assert batch.at_home() == {}


def test_a_damaged_set_that_was_replaced_is_tried_again(batch: Batch) -> None:
    batch.push("a")
    _damage(batch)
    collector = _collector(batch, Told())
    assert collector.poll_once() == []
    batch.push("a")
    assert [home.job for home in collector.poll_once()] == ["a"]


# ---------------------------------------------------------------- a full disk


def _noise(size: int) -> bytes:
    return os.urandom(size)


@pytest.mark.parametrize("files", [{"noise": _noise(100_000)}, {"zeros": bytes(10_000_000)}], ids=["archive", "file"])
def test_a_full_disk_stops_the_end_without_loss(batch: Batch, files: dict[str, bytes]) -> None:
    for number in range(3):
        batch.push(f"job-{number}", files)
    told = Told()
    collector = _collector(batch, told)
    with largest_file(50_000), pytest.raises(DiskError, match="File too large"):
        collector.finish()
    assert told.states() == ["paused"]
    assert len(batch.objects()) == 9
    assert batch.at_home() == {}
    assert [path for path in batch.folder.rglob("*") if path.is_file() and path.stat().st_size > 4096] == []
    assert len(collector.finish().home) == 3
    assert batch.at_home() == {f"job-{number}": files for number in range(3)}


def test_it_goes_on_by_itself_when_there_is_room_again(batch: Batch) -> None:
    for number in range(3):
        batch.push(f"job-{number}", {"noise": _noise(100_000)})
    told = Told()
    collector = _collector(batch, told)
    with contextlib.ExitStack() as limit:
        limit.enter_context(largest_file(50_000))
        with _running(collector):
            with pytest.raises(DiskError):
                collector.wait_home("job-0", 1, timeout_s=LIMIT_S)
            limit.close()
            _until(lambda: len(batch.at_home()) == 3)
    assert told.states()[:2] == ["paused", "resumed"]
    assert told.states().count("paused") == 1


def _fails_once(step: str, error: Exception) -> Callable[[str, ResultSet], None]:
    """For ``on_step``."""
    left = [error]

    def on_step(done: str, found: ResultSet) -> None:
        if done == step and left:
            raise left.pop()

    return on_step


@pytest.mark.parametrize("step", ["claimed", "copied"])
def test_whatever_the_disk_says_is_told_and_tried_again(batch: Batch, step: str) -> None:
    batch.push("a")
    told = Told()
    collector = _collector(batch, told, on_step=_fails_once(step, OSError(errno.EIO, "Input/output error")))
    with _running(collector):
        _until(lambda: "home" in told.states())
    assert told.states() == ["paused", "resumed", "home"]
    (paused,) = [event for event in told.events if event.facts.get("state") == "paused"]
    assert "Input/output error" in paused.facts["message"]


def test_a_set_that_cannot_come_home_by_a_defect_stops_no_other(batch: Batch) -> None:
    batch.push("a")
    told = Told()
    collector = _collector(batch, told, on_step=_fails_once("claimed", KeyError("nobody thought of it")))
    with _running(collector):
        _until(lambda: bool(told.warnings()))
        batch.push("b")
        _until(lambda: told.states() == ["home", "home"])
    assert len(told.warnings()) == 1
    assert "nobody thought of it" in told.warnings()[0]


TOO_MUCH = 1 << 46


def test_what_no_thread_could_be_had_for_comes_home_in_the_end(batch: Batch) -> None:
    for job in "ab":
        batch.push(job)
    stop, hurry = threading.Event(), threading.Event()
    warnings: list[str] = []

    def on_progress(event: Event) -> None:
        if event.event == "warning":
            warnings.append(event.facts["message"])
            stop.set()

    collector = Collector(batch.context, batch.name, DownloadTracker(batch.folder), Listener(on_progress=on_progress))
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
    assert [home.job for home in collected.home] == ["a", "b"]


def _claim(batch: Batch, job: str, size: int) -> None:
    """A set whose manifest says that its one file has so many bytes."""
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
    told = Told()
    collector = _collector(batch, told)
    with _running(collector):
        with pytest.raises(DiskError, match="MB are needed"):
            collector.wait_home("a", 1, timeout_s=LIMIT_S)
        for number in range(10):
            assert collector.wait_home(f"big-{number}", 1, timeout_s=LIMIT_S) is not None
    assert (told.states().count("too big"), told.states().count("paused")) == (1, 0)
    with pytest.raises(DiskError, match="MB are needed"):
        _collector(batch, Told()).finish()
    assert len(batch.objects()) == 3


def test_what_no_archive_can_hold_is_corrupt_and_keeps_no_other_back(batch: Batch) -> None:
    _claim(batch, "a", 1 << 60)
    batch.push("b")
    told = Told()
    collected = _collector(batch, told).finish()
    assert [home.job for home in collected.home] == ["b"]
    assert list(collected.corrupt) == [f"{batch.name}/a/attempt-1/"]


def test_a_folder_that_cannot_be_made_is_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    batch = new_batch(site, tmp_path / "results")
    batch.push("a")
    with pytest.raises(DiskError):
        _collector(batch, Told()).finish()
    assert len(batch.objects()) == 3
    batch.store.close()


def test_an_error_of_the_listing_is_raised_by_a_poll(batch: Batch) -> None:
    batch.site.fault(kind="http", status=403, match=r"GET /storage/v1/b/[^/]+/o\?")
    with pytest.raises(CloudError):
        _collector(batch, Told()).poll_once()
