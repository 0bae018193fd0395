"""All machines of one emulator: boot, shut down, find an address. What the compute API drives."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from runner.emulator.machines.login import make_home
from runner.emulator.machines.machine import OWN_SHUTDOWN_S, Machine
from runner.emulator.machines.seam import Cloud, MachineSpec
from runner.errors import CloudError, ConflictError

LISTENING = "0A"
LISTENERS = Path("/proc/net/tcp")
ADDRESS_TRIES = 1000


class MachineRoom:
    """The machines that are on. Everything is called in the event loop's thread."""

    def __init__(self, cloud: Cloud, *, url: str, user: str, from_host: Mapping[str, str] | None = None) -> None:
        """``url``: the emulator's own, for object storage; ``user``: the operator, whose home every machine has from its boot;
        ``from_host``: variables of the host that every login has too."""
        self._from_host = dict(from_host or {})
        self._cloud = cloud
        self._url = url
        self._username = re.sub(r"[^a-z0-9_-]", "_", user.lower())
        self._machines: dict[str, Machine] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def boot(self, spec: MachineSpec) -> None:
        """Switch a machine on. Returns when SSH listens and the host key is published; its startup script goes on in the background.

        Raises: ConflictError (it is on already), CloudError (its address cannot be had).
        """
        if spec.key in self._machines:
            raise ConflictError(f"the instance {spec.name} runs already", reason="resourceInUse", status=409)
        machine = Machine(
            spec=spec, cloud=self._cloud, url=self._url, on_power_off=self._take_off, from_host=self._from_host
        )
        self._machines[spec.key] = machine
        make_home(spec.root, self._username)
        try:
            await machine.boot()
        except OSError as error:
            del self._machines[spec.key]
            raise CloudError(f"{spec.name} cannot listen on {spec.address}:{spec.ssh_port}: {error}") from error

    async def shut_down(self, key: str, *, notice_s: float) -> None:
        """Switch a machine off: SIGTERM after its shutdown script, SIGKILL after ``notice_s`` at most. No error if it is off.

        A second call with a smaller notice shortens the first one's. Returns when no process is left.
        """
        machine = self._machines.get(key)
        if machine is None:
            return
        await machine.shut_down(notice_s=notice_s)
        if self._machines.get(key) is machine:
            del self._machines[key]

    async def close(self) -> None:
        """Switch everything off at once. Idempotent."""
        await asyncio.gather(*(self.shut_down(key, notice_s=0) for key in list(self._machines)))
        await asyncio.gather(*self._tasks)

    def free_address(self, taken: Collection[str]) -> str:
        """A loopback address that is not taken and on which nobody listens, at whatever port.

        Drawn by lot out of 127.16.0.0 to 127.254.255.254, so that emulators on one computer do not meet. Raises: CloudError.
        """
        busy = {*taken, *listening_addresses()}
        for _ in range(ADDRESS_TRIES):
            address = f"127.{16 + secrets.randbelow(239)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
            if address not in busy and is_usable(address):
                return address
        if "127.0.0.1" not in taken:
            return "127.0.0.1"
        remedy = "give the loopback interface more addresses: sudo ifconfig lo0 alias 127.16.0.2"
        raise CloudError("there is no free loopback address for another machine", remedy=remedy)

    def refuse_ssh(self, key: str, *, duration_s: float) -> None:
        """Fault: from now on SSH connections to a machine are closed as soon as they come."""
        self._machine(key).faults.ssh_refused_until = asyncio.get_running_loop().time() + duration_s

    def cut_next_connection(self, key: str, *, after_bytes: int) -> None:
        """Fault: the next SSH connection to a machine is lost after so many bytes, both ways together."""
        self._machine(key).faults.cut_next_connection_after_bytes = after_bytes

    def drop_connections(self, key: str) -> None:
        """Fault: all SSH connections to a machine are lost now."""
        self._machine(key).ssh.drop_connections()

    async def fill_disk(self, key: str, *, full: bool) -> None:
        """Fault: no file of a machine can grow any more, or all can again. See ``Faults`` for how true that is."""
        machine = self._machine(key)
        machine.faults.disk_full = full
        await machine.guest.limit_files(0 if full else None)

    async def hang(self, key: str) -> None:
        """Fault: a machine stands still for good. Its processes are stopped, SSH takes connections and says nothing."""
        await self._machine(key).hang()

    def _machine(self, key: str) -> Machine:
        if key not in self._machines:
            raise ConflictError(f"the instance {key} does not run", reason="resourceNotReady", status=400)
        return self._machines[key]

    def _take_off(self, machine: Machine) -> None:
        """A machine switches itself off: see it through, then tell the cloud."""
        task = asyncio.ensure_future(self._see_off(machine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _see_off(self, machine: Machine) -> None:
        await self.shut_down(machine.spec.key, notice_s=OWN_SHUTDOWN_S)
        self._cloud.guest_powered_off(machine.spec.key)


def is_usable(address: str) -> bool:
    """Whether this computer has the address."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def listening_addresses() -> set[str]:
    """Addresses on which somebody listens (Linux; elsewhere nothing is known)."""
    if not LISTENERS.exists():
        return set()
    rows = (line.split() for line in LISTENERS.read_text().splitlines()[1:])
    return {".".join(map(str, reversed(bytes.fromhex(row[1][:8])))) for row in rows if row[3] == LISTENING}
