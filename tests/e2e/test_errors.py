"""Errors as users see them: no traceback, a report in a file; and exit codes that are documented in one table."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runner import errors
from runner.errors import EXIT_CODES, CrashError, HpcError
from tests.e2e.site import ROOT, Site

FAULT = """
import os, sys, threading
from runner.cli.verbs.verb import verb
from runner.options.batches import Receipt

@verb
def receipt(options):
    if options.batch == "thread":
        thread = threading.Thread(target=lambda: 1 / 0, name="a thread of ours")
        thread.start()
        thread.join()
        return 0
    if options.batch == "package":
        import no_such_package
    raise ValueError("password=hunter2hunter2, and what went wrong")

if sys.argv[2] == "no platformdirs":
    sys.modules["platformdirs"] = None
if sys.argv[2] == "nobody":
    os.environ.pop("HOME", None)
    os.setuid(54321)
sys.exit(receipt(Receipt(json=sys.argv[1] == "json", batch=sys.argv[2])))
"""


def run_fault(home: Path, form: str = "text", batch: str = "b1", **more: str) -> subprocess.CompletedProcess[str]:
    """Run a verb with an internal error, as ``tasks.py`` would call it."""
    site = Site(home=home, more=more)
    command = [sys.executable, "-c", FAULT, form, batch]
    return subprocess.run(
        command, cwd=ROOT, env=site.environment, capture_output=True, text=True, timeout=120, check=False
    )


def all_errors(kind: type[HpcError] = HpcError) -> set[type[HpcError]]:
    return {kind}.union(
        *(all_errors(under) for under in kind.__subclasses__() if under.__module__.startswith("runner."))
    )


def test_an_internal_error_is_a_sentence_and_a_report(tmp_path: Path) -> None:
    done = run_fault(tmp_path)
    assert done.returncode == CrashError.exit_code
    assert "Traceback" not in done.stdout + done.stderr
    assert "error: a fault in opensees-hpc itself: ValueError: password=[hidden], and what went wrong" in done.stderr
    (report,) = (tmp_path / "crashes").iterdir()
    assert str(report) in done.stderr
    assert f"log: {tmp_path / 'logs' / 'b1.log'}" in done.stderr
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    for file in (report, tmp_path / "logs" / "b1.log"):
        text = file.read_text()
        assert "and what went wrong" in text
        assert "Traceback (most recent call last)" in text
        assert "hunter2" not in text


def test_an_internal_error_as_json(tmp_path: Path) -> None:
    done = run_fault(tmp_path, "json")
    event = json.loads(done.stdout)
    assert (event["event"], event["exit_code"], event["log"]) == ("error", 11, str(tmp_path / "logs" / "b1.log"))


def test_an_internal_error_where_no_report_can_be_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    done = run_fault(home)
    assert done.returncode == CrashError.exit_code
    assert "no report could be written" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_an_internal_error_before_the_log_is_open(tmp_path: Path) -> None:
    done = run_fault(tmp_path, batch="no platformdirs", OPENSEES_HPC_HOME="")
    assert done.returncode == 3
    assert "error: the Python package platformdirs is missing" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_whom_the_computer_does_not_know(tmp_path: Path) -> None:
    done = run_fault(tmp_path, batch="nobody", OPENSEES_HPC_HOME="", XDG_STATE_HOME="")
    assert done.returncode == 2
    assert "error: this user has no home folder" in done.stderr
    assert "remedy: set OPENSEES_HPC_HOME to a folder" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_thread_that_fails_is_a_line(tmp_path: Path) -> None:
    done = run_fault(tmp_path, batch="thread")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "warning: a thread of ours ended: ZeroDivisionError" in done.stderr
    assert "Traceback (most recent call last)" in (tmp_path / "logs" / "thread.log").read_text()


def test_debug_shows_the_log_too(tmp_path: Path) -> None:
    site = Site(home=tmp_path)
    for words in (("local.status",), ("local.status", "--debug")):
        done = site.invoke(*words)
        assert (done.returncode, "runner.wiring.logs: local.status begins" in done.stderr) == (0, "--debug" in words)
    assert (tmp_path / "logs" / "local.status.log").read_text().count("begins") == 2


def test_a_missing_package_is_a_missing_tool(tmp_path: Path) -> None:
    done = run_fault(tmp_path, batch="package")
    assert done.returncode == 3
    assert "the Python package no_such_package is missing" in done.stderr
    assert "./bootstrap" in done.stderr


@pytest.mark.parametrize("words", ["--list", "--help run", "run --help", "status --no-such-option"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_disconnects_is_not_an_error(tmp_path: Path, words: str, unbuffered: str) -> None:
    site = Site(home=tmp_path, more={"PYTHONUNBUFFERED": unbuffered})
    script = f"'{site.command()[0]}' {words} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=site.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (0, 1, 141)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", ["local.status", "local.status --json"])
def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path, words: str) -> None:
    site = Site(home=tmp_path)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            site.command(*words.split()), cwd=ROOT, env=site.environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 10, done.stderr
    assert "error: standard output cannot be written: No space left on device" in done.stderr
    assert "remedy: write it to a disk with free space" in done.stderr


def test_a_closed_stdout_is_not_an_error(tmp_path: Path) -> None:
    site = Site(home=tmp_path)
    process = site.start("local.status", "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert (process.wait(120), told) == (0, "")


INTERRUPTED = """
import signal, sys
from invoke.main import program

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "rich":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
program.run(["invoke", "status"])
"""


def test_an_interrupt_while_packages_are_loaded_ends_as_any_other(tmp_path: Path) -> None:
    words = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(words, cwd=ROOT, env=Site(home=tmp_path).environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("words", ["local.status", "status --no-such-option", "--list"])
@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(tmp_path: Path, words: str, closing: str) -> None:
    site = Site(home=tmp_path)
    command = ["bash", "-c", f"'{site.command()[0]}' {words} {closing}"]
    done = subprocess.run(command, cwd=ROOT, env=site.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == ("no-such" in words), done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("verb", ["run", "attach", "extend", "receipt", "cleanup", "local.status"])
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_a_verb_answers_to_help(tmp_path: Path, verb: str, word: str) -> None:
    """This holds with and without required arguments, for which Invoke would take the word."""
    done = Site(home=tmp_path).invoke(verb, word)
    assert done.returncode == 0, done.stderr
    assert f"] {verb} [" in done.stdout
    assert "Exit codes:" in done.stdout


def test_every_exit_code_is_in_one_table() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    table = {int(code): words for code, words in re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE)}
    assert table == dict(EXIT_CODES)
    assert {kind.exit_code for kind in all_errors()} <= set(EXIT_CODES)
    tree = {int(code) for code in re.findall(r"Error\s+(\d+)  ", str(errors.__doc__))}
    assert tree == {kind.exit_code for kind in all_errors()}
    assert "errors.md" in (ROOT / "docs" / "jobs.md").read_text()


def test_a_run_can_end_with_every_exit_code() -> None:
    import tasks

    help_text = str(tasks.ns["run"].__doc__)
    for code in EXIT_CODES:
        assert re.search(rf"^\s+{code} \S", help_text, re.MULTILINE), code
