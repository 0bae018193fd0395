"""The client disappears at any moment, and the batch continues: on the same computer, or on another one."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import LIMIT_S, Site, read_events

pytestmark = pytest.mark.xdist_group("faults")

SLOW = """\
puts "begin [lindex $argv 0]"
flush stdout
for {set i 0} {$i < [lindex $argv 1]} {incr i} {
  after 500
  puts "step $i"
  flush stdout
}
set f [open out.txt w]
puts $f "job [lindex $argv 0]"
close $f
"""
JOBS = """\
batch: {batch}
jobs:
  - {{name: "quick-{{i}}", dir: m, matrix: {{i: [1, 2]}}, args: ["{{i}}", 2]}}
  - {{name: "slow-{{i}}", dir: m, matrix: {{i: [1, 2, 3]}}, args: ["{{i}}", 16]}}
machines: {{max_vms: 2}}
"""
NAMES = ["quick-1", "quick-2", "slow-1", "slow-2", "slow-3"]


def write_batch(folder: Path, batch: str) -> Path:
    (folder / "m").mkdir()
    (folder / "m" / "main.tcl").write_text(SLOW)
    file = folder / f"{batch}.yaml"
    file.write_text(JOBS.format(batch=batch))
    return file


def start_and_wait_for(
    site: Site, file: Path, results: Path, is_reached: Callable[[dict[str, Any]], bool]
) -> subprocess.Popen[str]:
    """Start a run and wait for a certain event."""
    process = site.start("run", "--jobs", str(file), "--yes", "--json", "--results", str(results))
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{") and is_reached(json.loads(line)):
            return process
    raise AssertionError(process.communicate(timeout=LIMIT_S))


def assert_all_ended_well(events: list[dict[str, Any]], results: Path, site: Site) -> None:
    summary = events[-1]
    assert summary["event"] == "summary", events[-3:]
    assert [(job["name"], job["status"]) for job in summary["jobs"]] == [(name, "succeeded") for name in NAMES]
    for name in NAMES:
        folders = list((results / summary["batch"]).glob(f"{name}*"))
        assert [folder.name for folder in folders] == [name], "each job's results exist once"
        assert (folders[0] / "out.txt").read_text() == f"job {name.rpartition('-')[2]}\n"
    status = site.status()
    assert (status["vms"], status["batches"], status["bucket"]["batches"]) == ([], [], [])


def _is_second_wave(event: dict[str, Any]) -> bool:
    return (event["event"], event.get("job"), event.get("state")) == ("job", "slow-3", "running")


def _is_first_line(event: dict[str, Any]) -> bool:
    return event["event"] == "log" and str(event["line"]).startswith("begin")


def _is_first_end(event: dict[str, Any]) -> bool:
    return (event["event"], event.get("state")) == ("job", "succeeded")


@pytest.mark.parametrize(
    "moment", [_is_first_line, _is_first_end, _is_second_wave], ids=lambda f: f.__name__.strip("_")
)
def test_attach_after_kill_9(site: Site, tmp_path: Path, moment: Callable[[dict[str, Any]], bool]) -> None:
    batch = f"killed-{moment.__name__.strip('_').replace('_', '-')}"
    process = start_and_wait_for(site, write_batch(tmp_path, batch), tmp_path / "results", moment)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    assert len(site.status()["vms"]) == 2
    assert f"invoke attach --batch {batch} to continue" in site.invoke("status").stdout
    done = site.invoke("attach", "--json", "--results", str(tmp_path / "results"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert_all_ended_well(read_events(done.stdout), tmp_path / "results", site)


def test_logs_continue_where_they_stopped(site: Site, tmp_path: Path) -> None:
    file = write_batch(tmp_path, "detached")
    left = site.invoke(
        "run", "--jobs", str(file), "--yes", "--json", "--detach", "--results", str(tmp_path / "results")
    )
    assert left.returncode == 0, left.stderr
    before = read_events(left.stdout)
    assert before[-1]["detached"] is True
    states = {job["name"]: job["status"] for job in before[-1]["jobs"]}
    assert states.keys() == set(NAMES)
    assert set(states.values()) <= {"waiting", "running", "succeeded"}, "no job of a running batch is lost"
    done = site.invoke("attach", "--json", "--results", str(tmp_path / "results"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    after = read_events(done.stdout)
    for name in NAMES:
        lines = [event["line"] for event in before + after if event["event"] == "log" and event["job"] == name]
        steps = [line for line in lines if line.startswith("step")]
        wanted = 2 if name.startswith("quick") else 16
        assert steps == [f"step {i}" for i in range(wanted)], "nothing twice, nothing lost"
    assert_all_ended_well(after, tmp_path / "results", site)


def another_computer(site: Site, home: Path) -> Site:
    """Return another computer's site: it has the cloud, the stacks' state and the passphrase, which a state in a bucket has with it,
    but no journal, key or results."""
    other = Site(home=home)
    (other.home / "local").mkdir(parents=True)
    (other.home / "local" / "cloud").symlink_to(site.home / "local" / "cloud")
    (other.home / "local" / "stacks").symlink_to(site.home / "local" / "stacks")
    shutil.copy(site.home / "passphrase", other.home / "passphrase")
    return other


def test_attach_on_another_computer(site: Site, tmp_path: Path) -> None:
    file = write_batch(tmp_path, "elsewhere")
    left = site.invoke("run", "--jobs", str(file), "--yes", "--detach", "--results", str(tmp_path / "results"))
    assert left.returncode == 0, left.stderr
    shutil.rmtree(tmp_path / "m")
    other = another_computer(site, tmp_path / "other")
    done = other.invoke("attach", "--batch", "elsewhere", "--json", "--results", str(tmp_path / "there"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert_all_ended_well(read_events(done.stdout), tmp_path / "there", other)


def test_jobs_with_results_on_another_computer_do_not_run_again(site: Site, tmp_path: Path) -> None:
    """The first client has results that are no longer in the bucket; the second has none of them."""
    process = start_and_wait_for(site, write_batch(tmp_path, "halves"), tmp_path / "here", _is_first_end)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    other = another_computer(site, tmp_path / "other")
    words = ("attach", "--batch", "halves", "--take-over", "--json", "--results", str(tmp_path / "there"))
    done = other.invoke(*words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    events = read_events(done.stdout)
    jobs = {job["name"]: job for job in events[-1]["jobs"]}
    assert {name: job["status"] for name, job in jobs.items()} == dict.fromkeys(NAMES, "succeeded")
    here, there = (
        {path.name for path in (tmp_path / where / "halves").iterdir() if (path / "out.txt").exists()}
        for where in ("here", "there")
    )
    assert here and here | there == set(NAMES), (here, there)
    begun = {event["job"] for event in events if (event["event"], event.get("state")) == ("job", "running")}
    assert not here & begun, "what is at home is not run again"
    for name in here - there:
        assert str(tmp_path / "here" / "halves" / name) in jobs[name]["message"]
    assert site.status()["bucket"]["batches"] == []


def test_a_living_client_keeps_its_batch_from_one_with_a_copy_of_its_state(site: Site, tmp_path: Path) -> None:
    process = start_and_wait_for(site, write_batch(tmp_path, "copied"), tmp_path / "results", _is_first_line)
    other = another_computer(site, tmp_path / "other")
    for folder in ("journal", "engine"):
        shutil.copytree(site.home / "local" / folder, other.home / "local" / folder, symlinks=True)
    refused = other.invoke("attach", "--batch", "copied", "--results", str(tmp_path / "there"))
    assert refused.returncode == 4, refused.stdout + refused.stderr
    assert "is watched by" in refused.stderr and "--take-over" in refused.stderr
    kept = other.invoke("cleanup", "--everything", "--yes")
    assert kept.returncode == 8, kept.stdout
    assert f"(process {process.pid}) is watching it" in kept.stdout
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, stderr
    assert_all_ended_well(read_events(stdout), tmp_path / "results", site)
    for one in (site, other):
        proven = one.invoke("receipt", "copied", "--verify")
        assert proven.returncode == 0, proven.stdout


def test_nothing_to_attach_to(site: Site) -> None:
    done = site.invoke("attach")
    assert done.returncode == 2
    assert "no batch to attach to" in done.stderr
    done = site.invoke("attach", "--batch", "nobody-knows")
    assert done.returncode == 2
    assert "no batch nobody-knows" in done.stderr
    assert "Traceback" not in done.stderr
