"""The import of OpenSeesPy, which starts MPI, done so that connections from outside cannot end a rank.

With MPICH (device ch3:nemesis, linked into the wheel) each rank listens on all addresses, and aborts if anything but another
rank sends data to that port. All ranks of a run are on one VM, where MPICH uses shared memory, so no connection is needed: the port
is closed as soon as MPI runs. Until then it is outside the range from which the system assigns free ports, because an earlier server
may have had one of those, and its clients may still try to reach it.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

PORT_RANGE = "MPIR_CVAR_CH3_PORT_RANGE"
PORTS = "20000:29999"  # below the ephemeral ports of Linux (32768-60999) and macOS (49152-65535)


def import_engine() -> ModuleType:
    """Import OpenSeesPy and close the ports that MPI opened during the import."""
    before = set(_listening())
    with _port_range():
        engine = importlib.import_module("openseespy.opensees")
    for fd in set(_listening()) - before:
        _replace(fd)
    return engine


@contextmanager
def _port_range() -> Iterator[None]:
    """Set the port range unless the caller has set one, for this process only: two mpiexec with the same range may collide.

    mpiexec binds with SO_REUSEADDR, so two can bind the same port before either listens; ranks bind exclusively and try the next port.
    """
    if PORT_RANGE in os.environ:
        yield
        return
    os.environ[PORT_RANGE] = PORTS
    try:
        yield
    finally:
        del os.environ[PORT_RANGE]


def _listening() -> Iterator[int]:
    """Yield the descriptors of this process that are TCP sockets listening for connections."""
    for fd in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # not a socket, or the already closed descriptor of this listing
            found = socket.socket(fileno=fd)
            try:
                is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
                if is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield fd
            finally:
                found.detach()


def _replace(fd: int) -> None:
    """Close the socket and leave a pipe in its place that never becomes readable: MPICH continues to poll that number."""
    reader, _writer = os.pipe()  # the writer stays open for as long as this process runs
    os.dup2(reader, fd, inheritable=False)
    os.close(reader)
