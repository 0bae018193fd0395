"""The record of what is downloaded: whole after kill -9 and power cuts at any byte, one truth for two processes."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import DiskError
from runner.results.tracker import FILE, DownloadedSet, DownloadTracker
from runner.system.line_file import LineFile
from tests.results.tracker_child import home_set, make_source

ROOT = Path(__file__).resolve().parents[2]


def _place(tracker: DownloadTracker, job: str, attempt: int = 1, **more: Callable[[str], None]) -> DownloadedSet:
    downloaded = home_set(tracker.folder, job, attempt)
    return tracker.place(make_source(tracker.folder, downloaded), downloaded, **more)


def _folders(folder: Path) -> dict[str, str]:
    """Return the folders that a user sees, and the attempt in each."""
    visible = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return {path.name: (path / "attempt").read_text() for path in visible}


class CrashError(Exception):
    """Stands for the end of the process."""


def _crash_at(step: str, *, after: int = 0) -> Callable[[str], None]:
    left = [after]

    def on_step(name: str) -> None:
        if name == step:
            if left[0] == 0:
                raise CrashError
            left[0] -= 1

    return on_step


def test_an_empty_folder_has_no_record_and_is_not_created(tmp_path: Path) -> None:
    tracker = DownloadTracker(tmp_path / "batch")
    assert (tracker.downloaded_sets(), tracker.is_downloaded("a"), tracker.find("a")) == ([], False, None)
    assert not (tmp_path / "batch").exists()


def test_a_folder_that_cannot_be_looked_into_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="File name too long") as caught:
        DownloadTracker(tmp_path / ("x" * 300) / "batch")
    assert "a shorter path" in caught.value.remedy


def test_what_is_downloaded_is_known_to_the_next_process(tmp_path: Path) -> None:
    placed = _place(DownloadTracker(tmp_path), "a")
    again = DownloadTracker(tmp_path)
    assert again.downloaded_sets() == [placed]
    assert again.is_downloaded("a")
    assert not again.is_downloaded("b")
    assert again.find_same("a", 1, placed.size_bytes, placed.crc32c) == placed
    assert again.find_same("a", 1, placed.size_bytes, "other") is None
    again.record_deleted(placed)
    assert [downloaded.is_deleted for downloaded in DownloadTracker(tmp_path).downloaded_sets()] == [True]


def test_a_record_of_another_tracker_is_seen_at_once(tmp_path: Path) -> None:
    one, other = DownloadTracker(tmp_path), DownloadTracker(tmp_path)
    _place(one, "a")
    _place(other, "b")
    assert (
        [downloaded.job for downloaded in one.downloaded_sets()]
        == [downloaded.job for downloaded in other.downloaded_sets()]
        == ["a", "b"]
    )


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([1, 2], {"a": "2", "a.attempt-1": "1"}),
        ([2, 1], {"a": "2", "a.attempt-1": "1"}),
        ([1, 3, 2], {"a": "3", "a.attempt-1": "1", "a.attempt-2": "2"}),
        ([1, 1], {"a": "1", "a.attempt-1": "1"}),
        ([2, 1, 1], {"a": "2", "a.attempt-1": "1", "a.attempt-1.2": "1"}),
    ],
    ids=str,
)
def test_the_newest_attempt_has_the_name_and_nothing_is_overwritten(
    tmp_path: Path, order: list[int], expected: dict[str, str]
) -> None:
    tracker = DownloadTracker(tmp_path)
    for number, attempt in enumerate(order):
        downloaded = home_set(tmp_path, "a", attempt, crc32c=f"crc {number}")
        tracker.place(make_source(tmp_path, downloaded), downloaded)
    assert _folders(tmp_path) == expected
    newest = DownloadTracker(tmp_path).find("a")
    assert newest is not None
    assert (newest.attempt, newest.folder.name) == (max(order), "a")


def test_a_job_may_be_named_like_an_attempt_of_another(tmp_path: Path) -> None:
    tracker = DownloadTracker(tmp_path)
    _place(tracker, "a.attempt-1")
    _place(tracker, "a", 2)
    late = _place(tracker, "a", 1)
    assert late.folder.name == "a.attempt-1.2"
    assert tracker.downloaded_sets()[-1].folder.name == "a.attempt-1"


def test_a_folder_of_the_user_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "attempt").write_text("mine")
    assert _place(DownloadTracker(tmp_path), "a").folder.name == "a.attempt-1"
    assert _folders(tmp_path) == {"a": "mine", "a.attempt-1": "1"}


def test_a_link_to_nothing_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    assert _place(DownloadTracker(tmp_path), "a").folder.name == "a.attempt-1"


@pytest.mark.parametrize(("step", "is_downloaded"), [("announced", False), ("renamed", True), ("recorded", True)])
def test_a_crash_at_any_step_of_placing(tmp_path: Path, step: str, is_downloaded: bool) -> None:
    with pytest.raises(CrashError):
        _place(DownloadTracker(tmp_path), "a", on_step=_crash_at(step))
    again = DownloadTracker(tmp_path)
    assert again.is_downloaded("a") is is_downloaded
    if not is_downloaded:
        _place(again, "a")
    assert _folders(tmp_path) == {"a": "1"}


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("step", ["announced", "renamed", "recorded"])
def test_a_crash_while_an_older_attempt_moves_aside(tmp_path: Path, step: str, after: int) -> None:
    _place(DownloadTracker(tmp_path), "a", 1)
    newer = home_set(tmp_path, "a", 2)
    source = make_source(tmp_path, newer)
    with pytest.raises(CrashError):
        DownloadTracker(tmp_path).place(source, newer, on_step=_crash_at(step, after=after))
    again = DownloadTracker(tmp_path)
    if source.exists():
        assert again.find("a", 2) is None
        again.place(source, newer)
    assert _folders(tmp_path) == {"a": "2", "a.attempt-1": "1"}
    assert {downloaded.attempt: downloaded.folder.name for downloaded in again.downloaded_sets()} == {
        1: "a.attempt-1",
        2: "a",
    }


def test_a_file_that_was_cut_at_any_byte_can_be_read_and_written(tmp_path: Path) -> None:
    tracker = DownloadTracker(tmp_path / "whole")
    for job in ("a", "b", "c"):
        _place(tracker, job)
    content = (tmp_path / "whole" / FILE).read_bytes()
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(0, len(content) + 1, 5):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / FILE).write_bytes(content[:cut])
        lines_left = sum(end <= cut for end in ends)
        torn = DownloadTracker(folder)
        assert [downloaded.job for downloaded in torn.downloaded_sets()] == ["a", "b", "c"][: lines_left // 2]
        _place(torn, "d")
        assert DownloadTracker(folder).is_downloaded("d")


@pytest.mark.parametrize(
    "rubbish",
    [b"\0" * 100, b"\0" * 100 + b"\n", b"{}\n", b"[]\n", b"null\n", b"\xff\xfe\n", b'{"state":"home"}\n', b"\n\n"],
    ids=repr,
)
def test_rubbish_is_passed_over(tmp_path: Path, rubbish: bytes) -> None:
    _place(DownloadTracker(tmp_path), "a")
    with (tmp_path / FILE).open("ab") as file:
        file.write(rubbish)
    tracker = DownloadTracker(tmp_path)
    _place(tracker, "b")
    assert [downloaded.job for downloaded in DownloadTracker(tmp_path).downloaded_sets()] == ["a", "b"]


def test_records_of_a_newer_version_are_understood_as_far_as_possible(tmp_path: Path) -> None:
    placed = _place(DownloadTracker(tmp_path), "a")
    line = json.loads((tmp_path / FILE).read_text().splitlines()[-1])
    with LineFile(tmp_path / FILE) as file:
        file.append(json.dumps({**line, "state": "archived", "color": 7}).encode() + b"\n")
        file.append(json.dumps({**line, "job": "b", "color": 7}).encode() + b"\n")
    sets = DownloadTracker(tmp_path).downloaded_sets()
    assert [downloaded.job for downloaded in sets] == ["a", "b"]
    assert sets[0] == placed


def test_a_file_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    tracker = DownloadTracker(tmp_path)
    _place(tracker, "a")
    _place(tracker, "b")
    (tmp_path / FILE).write_bytes(b"")
    assert tracker.downloaded_sets() == []
    _place(tracker, "c")
    assert [downloaded.job for downloaded in tracker.downloaded_sets()] == ["c"]


def _start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.results.tracker_child", str(folder), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("count", [1, 2, 5, 17])
def test_kill_9_forgets_nothing_that_was_reported(tmp_path: Path, count: int) -> None:
    with _start(tmp_path, "a", "100000") as child:
        assert child.stdout is not None
        said = [child.stdout.readline().strip() for _ in range(count)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read().split()
    tracker = DownloadTracker(tmp_path)
    at_home = {downloaded.job for downloaded in tracker.downloaded_sets()}
    assert len(said) >= count
    assert set(said) <= at_home
    assert at_home == set(_folders(tmp_path))
    _place(tracker, "after")
    assert DownloadTracker(tmp_path).is_downloaded("after")


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    children = [_start(tmp_path, prefix, "40") for prefix in ("x", "y")]
    for child in children:
        _, stderr = child.communicate(timeout=120)
        assert child.returncode == 0, stderr
    tracker = DownloadTracker(tmp_path)
    expected = {f"{prefix}{number}" for prefix in ("x", "y") for number in range(40)}
    assert {downloaded.job for downloaded in tracker.downloaded_sets()} == expected == set(_folders(tmp_path))
    assert all(json.loads(line) for line in (tmp_path / FILE).read_text().splitlines())


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    tracker = DownloadTracker(tmp_path)
    _place(tracker, "a")
    before = (tmp_path / FILE).read_bytes()
    source = make_source(tmp_path, home_set(tmp_path, "b", 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(DiskError, match="File too large"):
            tracker.place(source, home_set(tmp_path, "b", 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / FILE).read_bytes() == before
    tracker.place(source, home_set(tmp_path, "b", 1))
    assert _folders(tmp_path) == {"a": "1", "b": "1"}
