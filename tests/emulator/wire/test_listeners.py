"""The port of SSH is not taken, and the system gives it to nobody."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from runner.emulator.wire.listeners import LOOPBACK, PORT_TRIES, SSH_PORTS, choose_ssh_port

ASSIGNED = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_program_is_assigned_the_port_later() -> None:
    first = int(ASSIGNED.read_text().split()[0]) if ASSIGNED.exists() else 32768
    assert max(SSH_PORTS) < first
    assert {choose_ssh_port() for _ in range(100)} <= set(SSH_PORTS)


def test_a_port_that_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        number = taken.getsockname()[1]
        free = choose_ssh_port()
        monkeypatch.setattr(random, "sample", lambda ports, count: [number, free])
        assert choose_ssh_port() == free
        monkeypatch.setattr(random, "sample", lambda ports, count: [number] * PORT_TRIES)
        with pytest.raises(OSError, match="no free port"):
            choose_ssh_port()
