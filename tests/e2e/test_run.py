"""``invoke run`` from end to end: the real engine, real SSH, a real object store, real OpenSees."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.site import Site, end, read_events

pytestmark = pytest.mark.xdist_group("run")

TRUSS_UX, TRUSS_UY = 0.530092777132284, -0.177893638469318


def _assert_nothing_is_left(site: Site) -> None:
    status = site.status()
    assert status["vms"] == []
    assert status["batches"] == []
    assert status["bucket"]["batches"] == []


def test_batch1(site: Site, tmp_path: Path) -> None:
    batch = site.run_batch(Path("jobs/batch1.yaml"), tmp_path / "results")
    summary = batch.summary
    assert [
        (job["name"], job["status"], job["message"]) for job in summary["jobs"] if job["status"] != "succeeded"
    ] == []
    assert (batch.exit_code, summary["exit_code"], summary["left_over"]) == (0, 0, [])
    assert len(summary["jobs"]) == 10
    for job in summary["jobs"]:
        folder = Path(job["results"])
        assert folder == tmp_path / "results" / summary["batch"] / job["name"]
        assert any(path.is_file() for path in folder.iterdir())
        assert batch.log(job["name"])
        assert job["wall_s"] > 0
        assert job["core_s"] > 0
    assert {"preflight", "up", "jobs", "destroy", "check"} <= set(summary["phases_s"])
    _assert_nothing_is_left(site)


def test_the_same_file_again_gets_a_name_of_its_own(site: Site, tmp_path: Path) -> None:
    (tmp_path / "smoke").mkdir()
    batch = site.run_batch(Path("jobs/smoke.yaml"), tmp_path)
    assert batch.summary["batch"] == "smoke-2"
    assert batch.exit_code == 0


def test_jobs_that_fail_do_not_stop_the_others(site: Site, tmp_path: Path) -> None:
    batch = site.run_batch(Path("jobs/failing.yaml"), tmp_path)
    assert batch.exit_code == 1
    assert {job["name"]: job["status"] for job in batch.summary["jobs"]} == {
        "tcl-error": "failed",
        "not-converged": "failed",
        "unchecked": "failed",
        "crash": "failed",
        "timeout": "timed out",
        "rank-error": "failed",
        "python-error": "failed",
        "truss": "succeeded",
    }
    assert "stopped at t = 0.5 s of 1 s" in batch.job("unchecked")["message"]
    assert "killed by signal 11" in batch.job("crash")["message"]
    assert all(job["results"] and Path(job["results"]).is_dir() for job in batch.summary["jobs"])
    _assert_nothing_is_left(site)


ENDS = {
    "minus-one": "puts -nonewline {my last words}; exit -1",
    "at-most": "exit 255",
    "as-of-a-signal": "exit 139",
    "a-signal": 'exec sh -c "kill -SEGV [pid]"; after 60000',
}


def test_exit_codes_are_distinguished_from_signals_and_a_last_line_stays_a_line(site: Site, tmp_path: Path) -> None:
    jobs = []
    for name, script in ENDS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tcl").write_text(script)
        jobs.append(f"  - {{name: {name}, dir: {name}}}\n")
    (tmp_path / "ends.yaml").write_text(f"batch: ends\njobs:\n{''.join(jobs)}machines: {{max_vms: 1}}\n")
    batch = site.run_batch(tmp_path / "ends.yaml", tmp_path / "results")
    ends = {job["name"]: (job["exit_code"], job["signal"], job["message"]) for job in batch.summary["jobs"]}
    assert ends == {
        "minus-one": (255, None, "exit code 255"),
        "at-most": (255, None, "exit code 255"),
        "as-of-a-signal": (139, None, "exit code 139"),
        "a-signal": (139, 11, "killed by signal 11"),
    }
    assert "my last words" in batch.log("minus-one")
    log = (site.home / "logs" / f"{batch.summary['batch']}.log").read_text()
    for words in (
        "runner.google.rest: GET http://",
        "runner.stacks.engine: process",
        "runner.ssh.link: ",
        "job: job='at-most'",
    ):
        assert words in log
    assert (site.home / "passphrase").read_text() not in log


HOSTILE = """\
import os
for name in (b"new\\nline", b"-rf", "\\u00fcn\\u00ef".encode(), b"bad\\xff", b"sub dir/$(x).txt"):
    os.makedirs(os.path.dirname(name) or b".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(name)
os.symlink("/etc/passwd", "link")
"""


def test_hostile_file_names_are_downloaded(site: Site, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "main.py").write_text(HOSTILE)
    file = tmp_path / "hostile.yaml"
    file.write_text("batch: hostile\njobs:\n  - {name: names, dir: model, main: main.py}\n")
    batch = site.run_batch(file, tmp_path / "results")
    assert batch.exit_code == 0, batch.events[-3:]
    folder = Path(batch.job("names")["results"])
    for name in (b"new\nline", b"-rf", "\u00fcn\u00ef".encode(), b"bad\xff", b"sub dir/$(x).txt"):
        assert (folder / Path(name.decode("utf-8", "surrogateescape"))).read_bytes() == name
    assert not (folder / "link").exists()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["stack", "log"])
def test_a_signal_leaves_nothing(site: Site, tmp_path: Path, signum: signal.Signals, moment: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "main.tcl").write_text("puts begun\nflush stdout\nafter 600000\n")
    file = tmp_path / "long.yaml"
    file.write_text("batch: long\njobs:\n  - {name: sleeper, dir: model}\n")
    process = site.start("run", "--jobs", str(file), "--yes", "--json", "--results", str(tmp_path / "results"))
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == moment and event.get("stack", "long").startswith("long"):
            break
    code, stdout, stderr = end(process, signum)
    assert code == 128 + signum, stderr
    (summary,) = (event for event in read_events(stdout)[-1:] if event["event"] == "summary")
    assert (summary["exit_code"], [job["name"] for job in summary["jobs"]]) == (code, ["sleeper"])
    assert "Traceback" not in stderr
    _assert_nothing_is_left(site)


def test_status_before_anything_was_created(fresh_site: Site) -> None:
    status = fresh_site.status()
    assert set(status) == {
        *("target", "project", "image", "vms", "without_vm", "batches", "bucket", "cost", "abandoned")
    }
    assert (status["image"], status["vms"], status["batches"], status["bucket"]["batches"]) == (None, [], [], [])
    assert status["cost"]["usd_per_hour_at_most"] == 0
