"""For all tests: signals as in a terminal; and, where everything is there, none that is skipped.

A background job of a shell and ``nohup`` start their programs with SIGINT or SIGHUP ignored, and children inherit that. Tests
send these signals to themselves and to the commands that they start.
"""

from __future__ import annotations

import signal

import pytest

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
