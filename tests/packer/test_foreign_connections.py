"""Connections from outside to the ports of a running analysis: they must not end it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.packer.prefix import PACKER

LIMIT_S = 120
RUNS_AT_ONCE = 8
# The ranks make MPI progress, during which it polls its ports, before and after the connections.
WAITING = """
barrier
close [open began-[getPID] w]
if {[getPID] == 0} { while {![file exists go]} { after 20 } }
barrier
puts "over [getPID]"
"""
LISTENER = """
import os, socket
port_range = os.environ["MPIR_CVAR_CH3_PORT_RANGE"]
ours = socket.create_server(("127.0.0.1", 0))
"""
IMPORT = """
import os, select, socket
before = socket.create_server(("127.0.0.1", 0))
from opensees_hpc.engine import import_engine
engine = import_engine()
fd = engine.ours.fileno()
assert select.select([fd], [], [], 0)[0] == []
socket.create_connection(before.getsockname()).close()
try:
    os.fstat(fd), engine.ours.getsockname()
except OSError:
    print(engine.port_range, os.environ.get("MPIR_CVAR_CH3_PORT_RANGE"))
"""


def wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


@contextmanager
def running(command: list[str | Path], folder: Path) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as run:
        try:
            yield run
        finally:
            run.terminate()


def listening_ports(process: psutil.Process) -> set[int]:
    """Return the TCP ports on which a process listens."""
    connections = process.net_connections(kind="tcp")
    return {found.laddr.port for found in connections if found.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n" * 50], ids=["silent", "garbage"])
@pytest.mark.parametrize("keeps_open", [True, False], ids=["kept", "closed"])
def test_a_foreign_connection_ends_no_analysis(
    data: bytes, keeps_open: bool, tmp_path: Path, opensees_prefix: Path
) -> None:
    (tmp_path / "main.tcl").write_text(WAITING)
    with running([opensees_prefix / "bin" / "openseesmp", "2", "main.tcl"], tmp_path) as run:
        wait_for(lambda: all((tmp_path / f"began-{rank}").exists() for rank in range(2)) or run.poll() is not None)
        processes = psutil.Process(run.pid).children(recursive=True)
        ports = {port for process in processes for port in listening_ports(process)}
        connections = [socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) for port in sorted(ports)]
        for connection in connections:
            connection.sendall(data)
            if not keeps_open:
                connection.close()
        (tmp_path / "go").touch()
        output, errors = run.communicate(timeout=LIMIT_S)
        for connection in connections:
            connection.close()
    assert len(processes) >= 4, processes  # mpiexec, its proxy, the ranks
    assert (run.returncode, {"over 0", "over 1"} <= set(output.splitlines())) == (0, True), errors


def test_no_rank_listens(tmp_path: Path, opensees_prefix: Path) -> None:
    (tmp_path / "main.tcl").write_text(WAITING)
    with running([opensees_prefix / "bin" / "openseesmp", "2", "main.tcl"], tmp_path) as run:
        wait_for(lambda: all((tmp_path / f"began-{rank}").exists() for rank in range(2)) or run.poll() is not None)
        started = psutil.Process(run.pid).children(recursive=True)
        launchers = [process for process in started if process.name().startswith("mpiexec")]
        launcher_ports = {port for process in launchers for port in listening_ports(process)}
        all_ports = {port for process in started for port in listening_ports(process)}
        (tmp_path / "go").touch()
        run.communicate(timeout=LIMIT_S)
    assert (len(started) >= 4, len(launchers)) == (True, 1)  # mpiexec, its proxy, the ranks
    assert all_ports == launcher_ports  # the others inherit that socket


def test_runs_that_start_at_the_same_time_do_not_take_ports_from_each_other(
    tmp_path: Path, opensees_prefix: Path
) -> None:
    (tmp_path / "main.tcl").write_text("barrier")
    command: list[str | Path] = [opensees_prefix / "bin" / "openseesmp", "3", "main.tcl"]
    pipe = subprocess.PIPE
    runs = [
        subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT)
        for _ in range(RUNS_AT_ONCE)
    ]
    outputs = [run.communicate(timeout=LIMIT_S)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * RUNS_AT_ONCE, outputs


@pytest.mark.parametrize(("given", "used"), [(None, "20000:29999"), ("1000:2000", "1000:2000")])
def test_the_ports_of_mpi_are_closed_after_its_start_and_other_listeners_are_not(
    given: str | None, used: str, tmp_path: Path
) -> None:
    (tmp_path / "openseespy").mkdir()
    (tmp_path / "openseespy" / "opensees.py").write_text(LISTENER)
    environment = {**os.environ, "PYTHONPATH": f"{PACKER / 'vm' / 'lib'}{os.pathsep}{tmp_path}"}
    if given is not None:
        environment["MPIR_CVAR_CH3_PORT_RANGE"] = given
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    assert done.stdout.split() == [used, str(given)]
