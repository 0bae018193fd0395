"""Ports on loopback."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
_BACKLOG = 2048
SSH_PORTS = range(10_000, 20_000)  # below those that systems assign, and those on which MPICH listens
PORT_TRIES = 100


def bind_port(wanted: int = 0, *, last: int = 0) -> socket.socket:
    """Open a listening socket: on the wanted port, else on the last one, else on any free port.

    Raises:
        OSError: the wanted port is taken.
    """
    for port in (wanted,) if wanted else (last, 0):
        # The protocol must be given: only then does asyncio switch off Nagle's algorithm (40 ms a response).
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            listener.close()
            if port in (wanted, 0):
                raise
            continue
        listener.listen(_BACKLOG)
        return listener
    raise OSError("no free port")


def choose_ssh_port() -> int:
    """Choose one port for all instances, which differ by address.

    It is not one that the system assigns: a program that listens on all addresses may be given such a port at any time, after which no
    instance can listen on it.

    Raises:
        OSError: all ports that were tried are taken.
    """
    for port in random.sample(SSH_PORTS, PORT_TRIES):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError("no free port for SSH")
