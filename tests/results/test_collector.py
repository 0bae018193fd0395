"""Results are downloaded while a batch runs: at once when wanted, once each, and through faults."""

from __future__ import annotations

import os
import threading

import pytest

from runner.errors import PermissionDeniedError
from runner.results.claims import FOLDER, claimed
from runner.results.store import ResultSet
from runner.results.tracker import DownloadedSet
from tests.results.collecting import LIMIT_S, Reported, make_collector, running, until
from tests.support.bucket import FILES, Batch

# ---------------------------------------------------------------- poll and finish


def test_each_set_is_downloaded_once_and_not_before_it_is_committed(batch: Batch) -> None:
    reported = Reported()
    collector = make_collector(batch, reported)
    with running(collector):
        batch.push("a")
        batch.push("b")
        batch.push("c", parts="am")
        until(lambda: len(batch.objects()) == 2)
        assert [downloaded.job for downloaded in collector.finish(is_over=False).downloaded] == ["a", "b"]
        batch.push("c", parts="c")
        until(lambda: batch.objects() == [])
    reported.events = [event for event in reported.events if event.as_json().get("state") != "unfinished"]
    assert batch.at_home() == {job: dict(FILES) for job in "abc"}
    assert batch.objects() == []
    assert reported.states() == ["downloaded"] * 3


def test_the_end_reports_what_was_never_committed(batch: Batch) -> None:
    batch.push("whole")
    batch.push("no-marker", parts="am")
    batch.push("no-manifest", parts="a")
    reported = Reported()
    collected = make_collector(batch, reported).finish()
    assert [downloaded.job for downloaded in collected.downloaded] == ["no-marker", "whole"]
    assert collected.unfinished == (f"{batch.name}/no-manifest/attempt-1/",)
    assert reported.states().count("unfinished") == 1
    assert batch.objects() == []
    assert not (batch.folder / FOLDER).exists()


def test_the_end_of_looking_leaves_pushes_that_go_on(batch: Batch) -> None:
    batch.push("a")
    batch.push("b", parts="am")
    collected = make_collector(batch, Reported()).finish(is_over=False)
    assert [downloaded.job for downloaded in collected.downloaded] == ["a"]
    assert collected.unfinished == (f"{batch.name}/b/attempt-1/",)
    assert len(batch.objects()) == 2


def test_an_attempt_that_was_given_up_does_not_displace_a_newer_one(batch: Batch) -> None:
    batch.push("a", {"which": b"2"}, attempt=2)
    collector = make_collector(batch, Reported())
    collector.finish(is_over=False)
    batch.push("a", {"which": b"1"}, attempt=1, parts="am")
    batch.push("a", {"which": b"3"}, attempt=3, parts="am")
    collector.finish()
    assert batch.at_home() == {"a": {"which": b"3"}, "a.attempt-2": {"which": b"2"}}
    assert batch.objects() == []


def test_control_objects_are_not_touched(batch: Batch) -> None:
    batch.store.put_control(batch.name, "lease.json", b"{}")
    batch.push("a")
    make_collector(batch, Reported()).finish()
    assert batch.store.list_control(batch.name) == ["lease.json"]


def test_what_a_crash_left_after_the_record_is_reported_again_and_deleted(batch: Batch) -> None:
    batch.push("a")
    batch.site.fault(kind="http", status=403, match="DELETE", times=None)
    first = Reported()
    with pytest.raises(PermissionDeniedError):
        make_collector(batch, first).finish()
    assert first.warnings()
    batch.site.clear_faults()
    downloaded_sets: list[DownloadedSet] = []
    reported = Reported()
    make_collector(batch, reported, on_downloaded=downloaded_sets.append).finish()
    assert reported.states() == ["downloaded"]
    assert [downloaded.job for downloaded in downloaded_sets] == ["a"]
    assert batch.objects() == []


# ---------------------------------------------------------------- beside the batch


def test_wanted_sets_are_downloaded_at_once_and_the_rest_by_polling(batch: Batch) -> None:
    reported = Reported()
    collector = make_collector(batch, reported)
    with running(collector):
        for number in range(5):
            batch.push(f"job-{number}")
            downloaded = collector.wait_downloaded(f"job-{number}", 1, timeout_s=LIMIT_S)
            assert downloaded is not None
            assert downloaded.folder == batch.folder / f"job-{number}"
        batch.push("by-itself")
        until(lambda: "by-itself" in batch.at_home())
        assert collector.wait_downloaded("never", 1, timeout_s=0.2) is None
    until(lambda: batch.objects() == [])
    assert reported.states() == ["downloaded"] * 6


def test_a_stop_in_the_middle_of_a_download_loses_nothing(batch: Batch) -> None:
    batch.push("a", {"big": bytes(range(256)) * 4000, "more": os.urandom(8 << 20)})
    batch.site.fault(kind="delay", match=r"GET .*results\.tar\.zst", delay_s=0.3)
    collector = make_collector(batch, Reported())
    with running(collector):
        until(lambda: (batch.folder / FOLDER / "a.attempt-1").exists())
    assert [downloaded.job for downloaded in collector.finish().downloaded] == ["a"]
    assert len(batch.at_home()["a"]) == 2


def test_a_download_that_was_stopped_does_not_continue_at_the_end(batch: Batch) -> None:
    """The polling thread may still be downloading when the end of the batch starts to download the rest."""
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
    collector = make_collector(batch, Reported(), on_step=on_step)
    stop = threading.Event()
    poller = threading.Thread(target=collector.run, args=(stop,))
    poller.start()
    assert is_begun.wait(LIMIT_S)
    stop.set()
    downloaded_sets: list[DownloadedSet] = []
    ending = threading.Thread(target=lambda: downloaded_sets.extend(collector.finish().downloaded))
    ending.start()
    may_go_on.set()
    ending.join(LIMIT_S)
    poller.join(LIMIT_S)
    assert [downloaded.job for downloaded in downloaded_sets] == ["a"]
    assert copied_by and not set(copied_by) & set(stopped_by)


MANY = {f"out/{number}": b"%d" % number for number in range(2000)}


def test_a_stop_in_the_middle_of_unpacking_is_obeyed_and_loses_nothing(batch: Batch) -> None:
    batch.push("a", MANY)
    unpacking = batch.folder / FOLDER / "a.attempt-1" / "unpacking"
    collector = make_collector(batch, Reported())
    with running(collector):
        until(lambda: len(list(unpacking.glob("out/*"))) > 10)
    assert batch.at_home() == {}
    assert [downloaded.job for downloaded in collector.finish().downloaded] == ["a"]
    assert batch.at_home() == {"a": MANY}


def test_the_end_waits_for_what_is_still_being_unpacked_and_reports_it(batch: Batch) -> None:
    """A download that was stopped, but finishes anyway."""
    batch.push("a")
    is_unpacked, may_go_on = threading.Event(), threading.Event()

    def hold(step: str, found: ResultSet) -> None:
        if step == "unpacked":
            is_unpacked.set()
            assert may_go_on.wait(LIMIT_S)

    collector = make_collector(batch, Reported(), on_step=hold)
    stop = threading.Event()
    poller = threading.Thread(target=collector.run, args=(stop,))
    poller.start()
    assert is_unpacked.wait(LIMIT_S)
    stop.set()
    downloaded_sets: list[str] = []
    ending = threading.Thread(
        target=lambda: downloaded_sets.extend(downloaded.job for downloaded in collector.finish().downloaded)
    )
    ending.start()
    ending.join(0.5)
    assert ending.is_alive(), "it waits for what is not decided yet"
    may_go_on.set()
    for thread in (ending, poller):
        thread.join(LIMIT_S)
    assert downloaded_sets == ["a"]
    assert batch.at_home() == {"a": dict(FILES)}


def test_an_end_in_a_hurry_leaves_the_rest_in_the_bucket(batch: Batch) -> None:
    batch.push("a", MANY)
    batch.push("b", parts="am")
    hurry = threading.Event()

    def hasten(step: str, found: ResultSet) -> None:
        if step == "copied":
            hurry.set()

    collected = make_collector(batch, Reported(), on_step=hasten).finish(hurry=hurry)
    assert (collected.downloaded, batch.at_home()) == ((), {})
    assert len(batch.objects()) == 5, "of b too, which may be whole"


def test_downloads_resume_after_an_outage(batch: Batch) -> None:
    reported = Reported()
    collector = make_collector(batch, reported)
    batch.push("a")
    batch.site.fault(kind="http", status=403, match=r"GET /storage/v1/b/[^/]+/o\?", times=2)
    with running(collector):
        until(lambda: bool(reported.warnings()))
        assert collector.wait_downloaded("a", 1, timeout_s=LIMIT_S) is not None
    assert len(reported.warnings()) == 1


def test_the_end_survives_refusals_that_pass_and_not_others(batch: Batch) -> None:
    for number in range(6):
        batch.push(f"job-{number}")
    for match in ("GET .*manifest", r"GET .*results\.tar\.zst", "DELETE", r"GET /storage/v1/b/[^/]+/o\?"):
        batch.site.fault(kind="http", status=503, match=match, times=2)
        batch.site.fault(kind="drop", match=match, times=2)
    assert len(make_collector(batch, Reported()).finish().downloaded) == 6
    batch.push("a")
    batch.site.fault(kind="http", status=403, reason="forbidden", match="GET .*manifest", times=None)
    with pytest.raises(PermissionDeniedError):
        make_collector(batch, Reported()).finish()
    assert len(batch.objects()) == 3


def test_the_end_waits_for_another_process(batch: Batch) -> None:
    batch.push("a")
    batch.folder.mkdir(parents=True)
    collector = make_collector(batch, Reported())
    done: list[int] = []
    with claimed(batch.folder, "a.attempt-1"):
        thread = threading.Thread(target=lambda: done.append(len(collector.finish().downloaded)))
        thread.start()
        assert thread.is_alive()
        assert batch.at_home() == {}
    thread.join(LIMIT_S)
    assert done == [1]
