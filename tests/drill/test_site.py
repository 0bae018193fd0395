"""The commands of a drill, as they are seen from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from runner.drill.places import make_local_site
from runner.drill.site import Client

LIMIT_S = 60.0


def _client(program: str) -> Client:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    client = Client(process)
    assert client.wait(LIMIT_S)
    return client


def test_a_traceback_is_found_however_much_follows() -> None:
    more = "import atexit, sys; atexit.register(lambda: sys.stderr.write('more ' * 2000)); "
    assert _client(more + "raise ValueError").has_traceback()
    assert not _client(more).has_traceback()


def test_a_drill_that_ends_early_leaves_no_command_behind(tmp_path: Path) -> None:
    site = make_local_site(os.environ, tmp_path / "home", tmp_path / "work")
    stopped = site.start("status")
    stopped.process.send_signal(signal.SIGSTOP)
    ended = site.start("--version")
    assert ended.wait(LIMIT_S)
    site.end_clients(0.0)
    assert (stopped.exit_code, ended.exit_code) == (-signal.SIGKILL, 0)
