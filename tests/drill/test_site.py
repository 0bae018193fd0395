"""The commands of a drill, seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.drill.site import Client
from runner.drill.targets import make_local_site, temporary_local_site
from runner.wiring import embedded

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0


def _ended(program: str, home: Path) -> Client:
    environment = {**os.environ, "OPENSEES_HPC_HOME": str(home)}
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    client = Client(process)
    assert client.wait(LIMIT_S)
    return client


VERB = """
import sys, threading
from runner.cli.verbs.verb import verb
from runner.options.batches import Status

@verb
def status(options):
    {}
    return 0

sys.exit(status(Status()))
"""
MORE = "import atexit, sys; atexit.register(lambda: sys.stderr.write('more ' * 2000)); "


@pytest.mark.parametrize(
    ("program", "has_crashed"),
    [
        (VERB.format("raise ValueError"), True),
        (VERB.format("t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()"), True),
        (VERB.format("raise __import__('runner.errors', fromlist=['x']).InputError('no')"), False),
        (VERB.format("pass"), False),
        (f"{MORE}raise ValueError", True),
        (MORE, False),
    ],
    ids=["fault of a verb", "fault of a thread", "wrong input", "nothing", "traceback and more", "words"],
)
def test_a_crash_is_found_however_it_is_reported(program: str, has_crashed: bool, tmp_path: Path) -> None:
    assert _ended(program, tmp_path).has_crashed() is has_crashed


def test_a_drill_that_ends_early_leaves_no_command_behind(tmp_path: Path) -> None:
    site = make_local_site(os.environ, tmp_path / "home", tmp_path / "work")
    stopped = site.start("status")
    stopped.process.send_signal(signal.SIGSTOP)
    ended = site.start("--version")
    assert ended.wait(LIMIT_S)
    site.end_clients(0.0)
    assert (stopped.exit_code, ended.exit_code) == (-signal.SIGKILL, 0)


def test_a_second_interrupt_waits_until_all_of_a_drill_has_been_put_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = embedded.stop_embedded_cloud
    warnings: list[str] = []

    def interrupted_stop(environment: Mapping[str, str]) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return stop(environment)

    monkeypatch.setattr(embedded, "stop_embedded_cloud", interrupted_stop)
    with pytest.raises(KeyboardInterrupt), temporary_local_site(os.environ, warnings.append) as site:
        embedded.start_embedded_cloud(site.environment)
        raise KeyboardInterrupt
    assert warnings == ["SIGINT: still cleaning up, please wait"]
    assert not embedded.embedded_cloud_status(site.environment)["running"]
    assert not site.folder.parent.exists()
