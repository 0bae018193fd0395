"""For all tests: signals as in a terminal; embedded clouds that may not fail inside without anybody seeing it; and, where everything is
there, no test that is skipped.

A background job of a shell and ``nohup`` start their programs with SIGINT or SIGHUP ignored, and children inherit that. Tests
send these signals to themselves and to the commands that they start.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.emulator.control.cloud_log import find_logs, read_tracebacks

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--skip-nothing", action="store_true", help="a test that is skipped is a failure")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if is_wrongly_skipped(terminalreporter):
        terminalreporter.write_line("tests were skipped, though this machine has everything", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if is_wrongly_skipped(reporter) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def is_wrongly_skipped(reporter: pytest.TerminalReporter | None) -> bool:
    """Only where reports come together: a worker of xdist has no reporter."""
    return reporter is not None and bool(reporter.config.getoption("--skip-nothing") and reporter.stats.get("skipped"))


class CloudLogs:
    """Which tracebacks have been told."""

    def __init__(self) -> None:
        self._told: set[tuple[Path, str]] = set()

    def check(self, folder: Path) -> None:
        """Fail for each traceback in the log of an embedded cloud below this folder that was not told yet."""
        found = {(log, told) for log in find_logs(folder) for told in read_tracebacks(log)} - self._told
        self._told |= found
        assert not found, "\n".join(f"the embedded cloud failed inside: {log}\n{told}" for log, told in sorted(found))


@pytest.fixture(scope="session", autouse=True)
def cloud_logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudLogs]:
    """At the end, all embedded clouds are looked at that the worker has started."""
    logs = CloudLogs()
    yield logs
    logs.check(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def sound_clouds(request: pytest.FixtureRequest, cloud_logs: CloudLogs) -> Iterator[None]:
    """A test fails with the embedded cloud that it has started in its own folder."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        cloud_logs.check(folder)
