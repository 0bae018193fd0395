"""Live logs: what was shown of running jobs, in whole lines, on a disk that may be full."""

from __future__ import annotations

from pathlib import Path

from runner.commands.events import Event, Listener
from runner.commands.live_logs import LiveLogs
from tests.disks import largest_file

LINE = b"123456789\n"


def test_who_comes_later_goes_on_where_it_stands(tmp_path: Path) -> None:
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


def test_a_full_disk_is_told_once_and_leaves_whole_lines(tmp_path: Path) -> None:
    told: list[Event] = []
    logs = LiveLogs(tmp_path, Listener(on_progress=told.append))
    with logs.opened("a.a1") as first, logs.opened("b.a1") as second:
        with largest_file(25):
            for log in (first, second):
                log.add(LINE)
                log.add(2 * LINE)
        first.add(LINE)
    assert (tmp_path / ".live" / "a.a1.log").read_bytes() == LINE
    assert (tmp_path / ".live" / "b.a1.log").read_bytes() == LINE
    (warning,) = told
    assert "File too large" in warning.facts["message"]
