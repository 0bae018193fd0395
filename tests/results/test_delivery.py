"""The download of one set: kill -9 between any two steps loses nothing and fetches nothing twice that was verified."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import CloudError, NotFoundError
from runner.model import names
from runner.results.claims import FOLDER, claimed
from runner.results.delivery import STEPS, Delivery
from runner.results.manifest import CorruptResultsError
from runner.results.store import ResultSet
from runner.results.tracker import FILE, DownloadedSet, DownloadTracker
from tests.support.bucket import FILES, Batch, pack

ROOT = Path(__file__).resolve().parents[2]
BIG = {"big.bin": os.urandom(5 << 20), **FILES}
VERIFIED = STEPS[STEPS.index("unpacked") :]


def _start(batch: Batch, *words: str) -> subprocess.Popen[str]:
    where = (str(batch.site.home), str(batch.context.results_folder), batch.name)
    command = [sys.executable, "-m", "tests.results.delivery_child", *where, *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _die(batch: Batch, *words: str) -> list[str]:
    """Run a child that kills itself; the steps that it did."""
    child = _start(batch, *words)
    stdout, stderr = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, stderr
    return stdout.split("\n")[:-1]


def _delivery(batch: Batch, **more: Any) -> Delivery:
    return Delivery(store=batch.store, tracker=DownloadTracker(batch.folder), **more)


def _only(batch: Batch, *, is_committed: bool = True) -> ResultSet:
    (found,) = [item for item in batch.store.all_sets(batch.name) if item.is_committed is is_committed]
    return found


def _bring_all(batch: Batch) -> list[DownloadedSet | None]:
    """Do what the next process does: download what is committed, finish an interrupted deletion."""
    return [_delivery(batch).download(found) for found in batch.store.all_sets(batch.name)]


def test_a_set_is_downloaded_whole_and_deleted_in_the_bucket(batch: Batch) -> None:
    batch.push("a", BIG)
    steps: list[str] = []
    reported: list[tuple[DownloadedSet, list[str]]] = []
    delivery = _delivery(
        batch,
        on_step=lambda step, found: steps.append(step),
        on_downloaded=lambda downloaded: reported.append((downloaded, batch.objects())),
    )
    downloaded = delivery.download(_only(batch))
    assert tuple(steps) == STEPS
    assert batch.at_home() == {"a": BIG}
    assert batch.objects() == []
    assert downloaded is not None
    assert (downloaded.job, downloaded.attempt, downloaded.files, downloaded.folder) == ("a", 1, 4, batch.folder / "a")
    assert [(item.key, len(objects)) for item, objects in reported] == [(downloaded.key, 3)], (
        "reported before the deletion"
    )
    assert list((batch.folder / FOLDER).iterdir()) == []


@pytest.mark.parametrize("step", STEPS)
def test_kill_9_after_any_step(batch: Batch, step: str) -> None:
    batch.push("a")
    assert _die(batch, "step", step)[-1] == step
    if step in VERIFIED:
        batch.site.fault(kind="http", status=403, message="twice", match=r"GET .*results\.tar\.zst", times=None)
    _bring_all(batch)
    assert batch.at_home() == {"a": dict(FILES)}
    assert batch.objects() == []
    assert [downloaded.job for downloaded in DownloadTracker(batch.folder).downloaded_sets()] == ["a"]


@pytest.mark.parametrize("step", ["unpacked", "announced", "renamed", "recorded"])
def test_kill_9_while_a_newer_attempt_takes_the_place(batch: Batch, step: str) -> None:
    batch.push("a", {"which": b"first"})
    _bring_all(batch)
    batch.push("a", {"which": b"second"}, attempt=2)
    _die(batch, "step", step)
    _bring_all(batch)
    assert batch.at_home() == {"a": {"which": b"second"}, "a.attempt-1": {"which": b"first"}}
    assert batch.objects() == []


@pytest.mark.parametrize(("how", "names_at_home"), [("cancelled", {"a"}), ("timeout", {"a", "a.attempt-1"})])
def test_what_was_cancelled_because_another_attempt_is_downloaded_is_not_needed(
    batch: Batch, how: str, names_at_home: set[str]
) -> None:
    batch.push("a", {"which": b"first"})
    _bring_all(batch)
    batch.push("a", {"which": b"second"}, attempt=2, how=how)
    _bring_all(batch)
    assert set(batch.at_home()) == names_at_home
    assert batch.objects() == []


def test_a_cancelled_attempt_is_downloaded_if_there_is_no_other(batch: Batch) -> None:
    batch.push("a", {"which": b"only"}, how="cancelled")
    _bring_all(batch)
    assert set(batch.at_home()) == {"a"}


@pytest.mark.parametrize("count", [0, 1_000_000, 4_900_000])
def test_kill_9_in_the_middle_of_a_copy(batch: Batch, count: int) -> None:
    batch.push("a", BIG)
    _die(batch, "bytes", str(count))
    came: list[int] = []
    found = _only(batch)
    _delivery(batch, on_bytes=came.append).download(found)
    assert batch.at_home() == {"a": BIG}
    assert found.archive is not None
    assert sum(came) <= found.archive.size - count, "it went on where it was"


@pytest.mark.parametrize("lines", [1, 9, 20, 33, 50])
def test_kill_9_from_outside_at_any_moment(batch: Batch, lines: int) -> None:
    for number in range(8):
        batch.push(f"job-{number}", {"n": str(number).encode()})
    with _start(batch, "never") as child:
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    _bring_all(batch)
    assert batch.at_home() == {f"job-{number}": {"n": str(number).encode()} for number in range(8)}
    assert batch.objects() == []


def test_a_partial_copy_that_a_power_cut_spoilt_is_noticed(batch: Batch) -> None:
    batch.push("a", BIG)
    _die(batch, "bytes", "1000000")
    (partial,) = (batch.folder / FOLDER / "a.attempt-1").glob("archive-*")
    partial.write_bytes(bytes(partial.stat().st_size))
    _bring_all(batch)
    assert batch.at_home() == {"a": BIG}


# ---------------------------------------------------------------- damage


def _altered(batch: Batch) -> None:
    archive, _ = pack(FILES)
    batch.put("a", names.RESULTS_ARCHIVE, archive[:-1] + bytes([archive[-1] ^ 1]))


def _truncated(batch: Batch) -> None:
    batch.put("a", names.RESULTS_ARCHIVE, pack(FILES)[0][:-7])


def _other_manifest(batch: Batch) -> None:
    batch.put("a", names.MANIFEST, b'{"format": 1, "archive": {"size": 1, "crc32c": "AAAAAA=="}, "files": []}')


def _cut_manifest(batch: Batch) -> None:
    batch.put("a", names.MANIFEST, b'{"format": 1, "archive"')


def _no_manifest(batch: Batch) -> None:
    batch.store.objects.delete(f"{batch.name}/a/attempt-1/{names.MANIFEST}")


def _no_archive(batch: Batch) -> None:
    batch.store.objects.delete(f"{batch.name}/a/attempt-1/{names.RESULTS_ARCHIVE}")


def _hostile(batch: Batch) -> None:
    batch.push("a", {"good": b"1", "../../../escape": b"2"})


@pytest.mark.parametrize(
    "damage",
    [_altered, _truncated, _other_manifest, _cut_manifest, _no_manifest, _no_archive, _hostile],
    ids=lambda damage: damage.__name__.strip("_"),
)
def test_a_corrupt_set_stays_in_the_bucket_and_leaves_nothing_on_the_disk(
    batch: Batch, damage: Callable[[Batch], None]
) -> None:
    batch.push("a")
    damage(batch)
    before = batch.objects()
    with pytest.raises(CorruptResultsError, match="a, attempt 1"):
        _delivery(batch).download(_only(batch))
    assert batch.objects() == before
    assert batch.at_home() == {}
    assert not DownloadTracker(batch.folder).is_downloaded("a")
    assert not (batch.context.results_folder.parent / "escape").exists()
    batch.push("a", push=2)
    for found in batch.store.result_sets(batch.name)[::-1]:
        _delivery(batch).download(found)
    assert batch.at_home() == {"a": dict(FILES)}
    assert batch.objects() == [], "the corrupt one is not needed any more"


def test_a_set_that_goes_while_it_is_fetched_is_not_called_corrupt(batch: Batch) -> None:
    batch.push("a")
    found = _only(batch)
    batch.store.delete(found)
    with pytest.raises(NotFoundError):
        _delivery(batch).download(found)


# ---------------------------------------------------------------- others


def test_a_set_that_another_is_about_is_left_to_it(batch: Batch) -> None:
    batch.push("a")
    batch.folder.mkdir(parents=True)
    with claimed(batch.folder, "a.attempt-1") as work:
        assert work is not None
        assert _delivery(batch).download(_only(batch)) is None
    assert _delivery(batch).download(_only(batch)) is not None


def test_two_processes_download_each_set_once(batch: Batch) -> None:
    for number in range(10):
        batch.push(f"job-{number}")
    children = [_start(batch, "never") for _ in range(2)]
    for child in children:
        _, stderr = child.communicate(timeout=120)
        assert child.returncode == 0 or "NotFoundError" in stderr, stderr
    _bring_all(batch)
    assert batch.at_home() == {f"job-{number}": dict(FILES) for number in range(10)}
    assert batch.objects() == []


def test_results_whose_record_was_lost_are_recognized(batch: Batch) -> None:
    batch.push("a")
    with pytest.raises(CloudError):
        batch.site.fault(kind="http", status=403, match="DELETE", times=None)
        _bring_all(batch)
    (batch.folder / FILE).unlink()
    batch.site.clear_faults()
    batch.site.fault(kind="http", status=403, match=r"GET .*results\.tar\.zst", times=None)
    _bring_all(batch)
    assert batch.at_home() == {"a": dict(FILES)}
    assert batch.objects() == []


def test_a_folder_that_the_user_took_away_comes_again_while_it_can(batch: Batch) -> None:
    batch.push("a")
    with pytest.raises(CloudError):
        batch.site.fault(kind="http", status=403, match="DELETE", times=None)
        _bring_all(batch)
    (batch.folder / "a").rename(batch.folder / ".elsewhere")
    batch.site.clear_faults()
    _bring_all(batch)
    assert batch.at_home() == {"a": dict(FILES)}


def test_another_batch_of_the_same_name_is_never_taken_for_a_downloaded_one(batch: Batch) -> None:
    batch.push("a", {"which": b"last year's"})
    _bring_all(batch)
    batch.push("a", {"which": b"of today"})
    _bring_all(batch)
    assert batch.at_home() == {"a": {"which": b"last year's"}, "a.attempt-1": {"which": b"of today"}}
    assert batch.objects() == []
