"""No reader of the output delays a batch: a terminal that is closed, a pipe without a reader, a pager that stops reading."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from tests.e2e.site import LIMIT_S, Site, read_events, wait_until
from tests.needs import need

pytestmark = pytest.mark.xdist_group("run")

LINES = 4000  # some 300 kB of JSON lines: several times the capacity of a pipe
MAIN = """\
for {{set i 0}} {{$i < {lines}}} {{incr i}} {{ puts "line $i" }}
flush stdout
after {pause_ms}
set f [open out.txt w]
puts $f done
close $f
"""


def write_batch(folder: Path, batch: str, *, lines: int, pause_ms: int = 0) -> list[str]:
    """Write a batch of one job; return the arguments that run it."""
    (folder / "m").mkdir()
    (folder / "m" / "main.tcl").write_text(MAIN.format(lines=lines, pause_ms=pause_ms))
    file = folder / "jobs.yaml"
    file.write_text(f"batch: {batch}\njobs:\n  - {{name: talker, dir: m}}\n")
    return ["run", "--jobs", str(file), "--yes", "--results", str(folder / "results")]


def test_a_closed_terminal_ends_the_batch(site: Site, tmp_path: Path) -> None:
    need("pty")
    words = write_batch(tmp_path, "closed", lines=3, pause_ms=600_000)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(site.root)
        os.execvpe(site.command()[0], site.command(*words), site.environment)
    seen = b""
    while b"line 2" not in seen:
        seen += os.read(terminal, 65536)
    assert len(site.status()["vms"]) == 1
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert site.status()["vms"] == []
    assert site.status()["batches"] == []


def test_a_reader_that_disconnects_does_not_end_the_batch(site: Site, tmp_path: Path) -> None:
    words = write_batch(tmp_path, "unheard", lines=LINES)
    process = site.start(*words, "--json")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(LIMIT_S) == 0
    assert (tmp_path / "results" / "unheard" / "talker" / "out.txt").read_text() == "done\n"
    assert site.status()["vms"] == []


def test_a_reader_that_stops_reading_does_not_delay_the_batch(site: Site, tmp_path: Path) -> None:
    words = write_batch(tmp_path, "unread", lines=LINES)
    process = site.start(*words, "--json")
    result = tmp_path / "results" / "unread" / "talker" / "out.txt"
    receipt = tmp_path / "results" / "unread" / "_receipt.json"
    wait_until(lambda: result.exists() and receipt.exists(), "the end of the batch, though nobody reads")
    assert site.status()["vms"] == []
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, stderr
    events = read_events(stdout)
    lines = [event["line"] for event in events if event["event"] == "log" and event["job"] == "talker"]
    assert lines[:LINES] == [f"line {i}" for i in range(LINES)]
    assert events[-1]["event"] == "summary"


def test_output_to_a_full_disk_does_not_end_the_batch(site: Site, tmp_path: Path) -> None:
    words = write_batch(tmp_path, "unwritten", lines=3)
    with Path("/dev/full").open("wb") as full:
        process = site.start(*words, output=full)
    assert process.wait(LIMIT_S) == 0
    assert (tmp_path / "results" / "unwritten" / "talker" / "out.txt").read_text() == "done\n"
