"""The commands of a drill, as they are seen from outside."""

from __future__ import annotations

import subprocess
import sys

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
