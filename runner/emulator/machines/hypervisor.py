"""Runs the instances of one emulator for the Compute API: boots them, shuts them down, finds addresses."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from runner.emulator.machines.background import BackgroundTasks
from runner.emulator.machines.interface import Cloud, MachineSpec
from runner.emulator.machines.login import make_home
from runner.emulator.machines.machine import OWN_SHUTDOWN_S, Machine
from runner.errors import CloudError, ConflictError

LISTENING = "0A"
LISTENERS = Path("/proc/net/tcp")
ADDRESS_TRIES = 1000


class LocalHypervisor:
    """The running instances. Call everything in the event loop's thread."""

    def __init__(self, cloud: Cloud, *, url: str, user: str, from_host: Mapping[str, str] | None = None) -> None:
        """Set up without instances.

        ``url``: the emulator's own, for object storage; ``user``: the operator, whose home every instance has from its boot;
        ``from_host``: variables of the host that every login gets.
        """
        self._from_host = dict(from_host or {})
        self._cloud = cloud
        self._url = url
        self._username = re.sub(r"[^a-z0-9_-]", "_", user.lower())
        self._machines: dict[str, Machine] = {}
        self._tasks = BackgroundTasks()

    async def boot(self, spec: MachineSpec) -> None:
        """Boot an instance. Returns when SSH listens and the host key is published; the startup script runs on in the background.

        Raises:
            ConflictError: it is already running.
            CloudError: its address is not available.
        """
        if spec.key in self._machines:
            raise ConflictError(f"the instance {spec.name} is already running", reason="resourceInUse", status=409)
        machine = Machine(
            spec=spec, cloud=self._cloud, url=self._url, on_power_off=self._handle_power_off, from_host=self._from_host
        )
        self._machines[spec.key] = machine
        make_home(spec.root, self._username)
        try:
            await machine.boot()
        except OSError as error:
            del self._machines[spec.key]
            raise CloudError(f"{spec.name} cannot listen on {spec.address}:{spec.ssh_port}: {error}") from error

    async def shut_down(self, key: str, *, notice_s: float) -> None:
        """Shut an instance down: SIGTERM after its shutdown script, SIGKILL after ``notice_s`` at most. No error if it is off.

        A second call with a shorter notice shortens the first one's. Returns when no process is left.
        """
        machine = self._machines.get(key)
        if machine is None:
            return
        await machine.shut_down(notice_s=notice_s)
        if self._machines.get(key) is machine:
            del self._machines[key]

    async def close(self) -> None:
        """Power everything off at once. Idempotent."""
        await asyncio.gather(*(self.shut_down(key, notice_s=0) for key in list(self._machines)))
        await self._tasks.wait()

    def free_address(self, taken: Collection[str]) -> str:
        """Find a loopback address that is not taken and has no listener on any port.

        It is random, from 127.16.0.0 to 127.254.255.254, so that emulators on one computer do not collide. Raises CloudError.
        """
        busy = {*taken, *listening_addresses()}
        for _ in range(ADDRESS_TRIES):
            address = f"127.{16 + secrets.randbelow(239)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
            if address not in busy and is_usable(address):
                return address
        if "127.0.0.1" not in taken:
            return "127.0.0.1"
        remedy = "give the loopback interface more addresses: sudo ifconfig lo0 alias 127.16.0.2"
        raise CloudError("there is no free loopback address for another instance", remedy=remedy)

    def refuse_ssh(self, key: str, *, duration_s: float) -> None:
        """Close new SSH connections to an instance at once, for ``duration_s`` (a fault)."""
        self._machine(key).faults.ssh_refused_until = asyncio.get_running_loop().time() + duration_s

    def cut_next_connection(self, key: str, *, after_bytes: int) -> None:
        """Cut the next SSH connection to an instance after ``after_bytes``, both directions together (a fault)."""
        self._machine(key).faults.cut_next_connection_after_bytes = after_bytes

    def drop_connections(self, key: str) -> None:
        """Drop all SSH connections to an instance (a fault)."""
        self._machine(key).ssh.drop_connections()

    async def fill_disk(self, key: str, *, full: bool) -> None:
        """Prevent the files of an instance from growing, or allow it again (a fault). See ``Faults`` for the limits of this."""
        machine = self._machine(key)
        machine.faults.disk_full = full
        await machine.guest.limit_files(0 if full else None)

    async def hang(self, key: str) -> None:
        """Hang an instance for good: its processes stop, SSH accepts connections but does not respond (a fault)."""
        await self._machine(key).hang()

    def _machine(self, key: str) -> Machine:
        if key not in self._machines:
            raise ConflictError(f"the instance {key} is not running", reason="resourceNotReady", status=400)
        return self._machines[key]

    def _handle_power_off(self, machine: Machine) -> None:
        """Complete the shutdown of an instance that powers itself off, then notify the cloud."""
        self._tasks.start(self._finish_power_off(machine))

    async def _finish_power_off(self, machine: Machine) -> None:
        await self.shut_down(machine.spec.key, notice_s=OWN_SHUTDOWN_S)
        self._cloud.guest_powered_off(machine.spec.key)


def is_usable(address: str) -> bool:
    """Return whether this computer has the address."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def listening_addresses() -> set[str]:
    """Return the addresses with listeners (on Linux; elsewhere none are known)."""
    if not LISTENERS.exists():
        return set()
    rows = (line.split() for line in LISTENERS.read_text().splitlines()[1:])
    return {".".join(map(str, reversed(bytes.fromhex(row[1][:8])))) for row in rows if row[3] == LISTENING}
