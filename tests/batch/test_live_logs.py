"""Live logs: what was shown of running jobs, in whole lines, on a disk that may be full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.batch.live_logs import LiveLogs
from runner.hardware.opensees import LOG_NAME
from runner.model.events import Event, Listener
from runner.results.tracker import DownloadedSet
from tests.disks import largest_file

LINE = b"123456789\n"


def test_a_later_client_continues_where_it_ends(tmp_path: Path) -> None:
    for begin in (0, 10, 20):
        logs = LiveLogs(tmp_path, Listener())
        with logs.opened("a.a1") as log:
            assert log.size_bytes == begin
            log.add(LINE)
    logs.close()
    assert (tmp_path / ".live" / "a.a1.log").read_bytes() == 3 * LINE
    logs.remove("a.a1")
    logs.remove("a.a1")
    logs.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_once_and_leaves_whole_lines(tmp_path: Path) -> None:
    reported: list[Event] = []
    logs = LiveLogs(tmp_path, Listener(on_progress=reported.append))
    with logs.opened("a.a1") as first, logs.opened("b.a1") as second:
        with largest_file(25):
            for log in (first, second):
                log.add(LINE)
                log.add(2 * LINE)
        first.add(LINE)
    assert (tmp_path / ".live" / "a.a1.log").read_bytes() == LINE
    assert (tmp_path / ".live" / "b.a1.log").read_bytes() == LINE
    (warning,) = reported
    assert "File too large" in warning.as_json()["message"]


def test_the_rest_of_a_log_is_shown_once_when_its_results_are_downloaded(tmp_path: Path) -> None:
    lines: list[str] = []
    logs = LiveLogs(tmp_path, Listener(on_log=lambda name, line: lines.append(f"{name}: {line}")))
    with logs.opened("a.a1") as log:
        log.add(b"one\n")
    results = DownloadedSet(job="a", attempt=1, push=1, folder=tmp_path / "a", files=1, size_bytes=1, crc32c="AAAAAA==")
    results.folder.mkdir()
    (results.folder / LOG_NAME).write_bytes(b"one\ntwo\nthr\xffee")
    logs.show_rest(results)
    logs.show_rest(results)
    assert lines == ["a: two", "a: thr\N{REPLACEMENT CHARACTER}ee"]
    logs.remove("b.a1")
    logs.show_rest(replace(results, job="b"))
    assert len(lines) == 2, "all of b's lines were shown already"
