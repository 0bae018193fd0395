"""Bad input leads to one message with its location and a remedy, exit code 2, and nothing is created or started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site, read_events
from tests.needs import need

TRUSS = "main.tcl"
JOBS = {
    "syntax error": ("batch: [\n", "not valid YAML"),
    "unknown key": ("batch: b\njobs:\n  - {name: a, dir: m, mian: x}\n", "did you mean 'main'?"),
    "wrong type": ("batch: b\njobs:\n  - {name: a, dir: m, np: two}\n", "np must be integer"),
    "missing folder": ("batch: b\njobs:\n  - {name: a, dir: nowhere}\n", "does not exist"),
    "missing main file": ("batch: b\njobs:\n  - {name: a, dir: m, main: other.tcl}\n", "does not exist"),
    "duplicate name": ("batch: b\njobs:\n  - {name: a, dir: m}\n  - {name: a, dir: m}\n", "two jobs are named"),
    "hostile name": ("batch: b\njobs:\n  - {name: 'a;$(reboot)', dir: m}\n", "is not a job name"),
    "file outside": ("batch: b\njobs:\n  - {name: a, dir: m, include: ['../*']}\n", "is not inside"),
    "np of 0": ("batch: b\njobs:\n  - {name: a, dir: m, np: 0}\n", "at least 1"),
    "too many cores": ("batch: b\njobs:\n  - {name: a, dir: m, np: 1000}\n", "more cores than any machine type has"),
}


@pytest.fixture
def fresh_site(tmp_path: Path) -> Iterator[Site]:
    made = Site(home=tmp_path / "home", bakes=False)
    yield made
    if (made.home / "local").exists():
        made.close()


@pytest.mark.parametrize("case", JOBS)
def test_a_bad_jobs_file_creates_nothing(fresh_site: Site, tmp_path: Path, case: str) -> None:
    text, words = JOBS[case]
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / TRUSS).write_text("exit 0\n")
    file = tmp_path / "batch.yaml"
    file.write_text(text)
    done = fresh_site.invoke("run", "--jobs", str(file), "--yes")
    assert done.returncode == 2
    assert words in done.stderr
    assert f"{file}:" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in fresh_site.home.iterdir()] == ["logs"]


def test_a_bad_jobs_file_has_a_summary_too(fresh_site: Site, tmp_path: Path) -> None:
    file = tmp_path / "batch.yaml"
    file.write_text("batch: [\n")
    error, summary = read_events(fresh_site.invoke("run", "--jobs", str(file), "--yes", "--json").stdout)[-2:]
    assert (error["event"], summary["event"]) == ("error", "summary")
    assert (error["exit_code"], summary["exit_code"], summary["jobs"], summary["left_over"]) == (2, 2, [], [])


def test_no_jobs_file(fresh_site: Site) -> None:
    done = fresh_site.invoke("run", "--jobs", "nowhere.yaml", "--yes")
    assert (done.returncode, "no such jobs file" in done.stderr) == (2, True)


def test_a_wrong_setting(fresh_site: Site) -> None:
    fresh_site.more = {"OPENSEES_HPC_REGION": "Mars"}
    done = fresh_site.invoke("status")
    assert done.returncode == 2
    assert "environment variable OPENSEES_HPC_REGION" in done.stderr


def test_a_wrong_project(fresh_site: Site) -> None:
    fresh_site.more = {"OPENSEES_HPC_PROJECT": "somebody-elses"}
    done = fresh_site.invoke("status")
    assert done.returncode == 4
    assert "the cloud has no project somebody-elses" in done.stderr
    assert "remedy: correct `project`" in done.stderr


def test_google_without_credentials(fresh_site: Site, tmp_path: Path) -> None:
    fresh_site.more = {
        "OPENSEES_HPC_TARGET": "google",
        "OPENSEES_HPC_PROJECT": "some-project",
        "HOME": str(tmp_path),
        "CLOUDSDK_CONFIG": str(tmp_path),
        "NO_GCE_CHECK": "true",
    }
    done = fresh_site.invoke("status")
    assert done.returncode == 4
    assert "gcloud auth application-default login" in done.stderr
    assert "Traceback" not in done.stderr


def test_words_with_half_a_quote(fresh_site: Site) -> None:
    done = fresh_site.invoke("test", "--no-lint", "--select", "'")
    assert (done.returncode, "No closing quotation" in done.stderr) == (2, True)


@pytest.mark.parametrize("at", [".nan", ".inf"])
def test_a_scenario_with_what_no_request_can_have(fresh_site: Site, tmp_path: Path, at: str) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(f"- {{at: {at}, fault: {{kind: hang}}}}\n")
    done = fresh_site.invoke("local.faults", "--scenario", str(file))
    assert done.returncode == 2, done.stderr
    assert f"error: {file}: " in done.stderr
    assert "remedy: see docs/faults.md" in done.stderr
    assert not (fresh_site.home / "local").exists()


def test_no_pulumi(fresh_site: Site) -> None:
    fresh_site.more = {"PATH": "/usr/bin:/bin", "OPENSEES_HPC_CACHE": str(fresh_site.home / "cache")}
    done = fresh_site.invoke("run", "--jobs", "jobs/smoke.yaml", "--yes")
    assert done.returncode == 3
    assert "./bootstrap" in done.stderr
    assert "Traceback" not in done.stderr


def test_not_a_terminal_and_no_yes(fresh_site: Site) -> None:
    need("tcl")  # a computer that cannot bake gets that error first
    done = fresh_site.invoke("run", "--jobs", "jobs/smoke.yaml")
    assert done.returncode == 9
    assert "--yes" in done.stderr
