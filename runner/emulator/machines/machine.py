"""The emulated machine beneath one instance: its init, its SSH server, its metadata server, from boot to shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from runner.emulator.machines import metadata_tree
from runner.emulator.machines.background import BackgroundTasks
from runner.emulator.machines.faults import Faults
from runner.emulator.machines.guest import Guest
from runner.emulator.machines.interface import Cloud, MachineSpec
from runner.emulator.machines.login import GuestSettings, make_home, marker
from runner.emulator.machines.metadata_scripts import run_metadata_script
from runner.emulator.machines.metadata_server import SWITCH_GUEST_ATTRIBUTES, MetadataServer
from runner.emulator.machines.ssh_server import HOST_KEY_ALGORITHM, SshServer

HOST_KEY_NAMESPACE = "hostkeys"
OWN_SHUTDOWN_S = 90.0
"""Time limit for an instance that powers itself off; systemd's default for stopping a unit."""


class Machine:
    """The emulated machine beneath one instance, while that is on. ``on_power_off`` is called when it powers itself off."""

    def __init__(
        self,
        *,
        spec: MachineSpec,
        cloud: Cloud,
        url: str,
        on_power_off: Callable[[Machine], None],
        from_host: Mapping[str, str],
    ) -> None:
        self.spec = spec
        self.faults = Faults()
        self._cloud = cloud
        self._url = url
        self._from_host = from_host
        self._on_power_off = on_power_off
        self._deadline_s = float("inf")
        self._grace: asyncio.Timeout | None = None
        self._ending: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks()
        self._metadata = MetadataServer(key=spec.key, address=spec.address, cloud=cloud)
        self.guest = Guest(
            name=spec.name, log=spec.root / "var/log/init.log", marker=marker(spec.root), on_power_off=self._power_off
        )

    async def boot(self) -> None:
        """Start everything. Returns when SSH listens and the host key is published. Raises OSError; then nothing is left running."""
        self._write_serial(f"Booting {self.spec.name}")
        self._write_identity()
        await self._metadata.start()
        self.settings = GuestSettings(
            spec=self.spec, url=self._url, metadata_host=self._metadata.host, from_host=self._from_host
        )
        self.ssh = SshServer(settings=self.settings, guest=self.guest, cloud=self._cloud, faults=self.faults)
        try:
            host_key = await self.ssh.start()
        except OSError:
            await self._metadata.close()
            raise
        await self.guest.start()
        (self.spec.root / "run/init.pid").write_text(f"{self.guest.pid}\n")
        self._publish_host_key(host_key)
        self._write_serial(f"{self.spec.name} login: ")
        self._tasks.start(self._run_script("startup-script"))

    def _write_identity(self) -> None:
        root = self.spec.root
        for folder in ("run", "tmp", "var/log", "etc"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name, text in {"etc/hostname": self.spec.name, "run/vcpus": str(self.spec.vcpus)}.items():
            (root / name).write_text(f"{text}\n")
        make_home(root, "root")

    def _publish_host_key(self, blob: str) -> None:
        """Publish the host key as a guest attribute, if the metadata enables these, like Google's guest agent."""
        if metadata_tree.is_true(metadata_tree.attribute(self._cloud.metadata(self.spec.key), SWITCH_GUEST_ATTRIBUTES)):
            self._cloud.set_guest_attribute(self.spec.key, HOST_KEY_NAMESPACE, HOST_KEY_ALGORITHM, blob)

    async def hang(self) -> None:
        """Hang for good, as after a kernel panic."""
        self.faults.hangs = True
        self.ssh.stop_responding()
        await self.guest.freeze()

    async def shut_down(self, *, notice_s: float) -> None:
        """Shut down in ``notice_s`` at most. A further call can only shorten the time; all return when every process is gone.

        An instance that hangs gets no notice.
        """
        notice_s = 0.0 if self.faults.hangs else notice_s
        self._deadline_s = min(self._deadline_s, asyncio.get_running_loop().time() + notice_s)
        if self._grace is not None and not self._grace.expired():
            self._grace.reschedule(self._deadline_s)
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        """Run the shutdown script, send SIGTERM, wait for the remaining time, then kill everything that still runs."""
        if self._deadline_s > asyncio.get_running_loop().time():
            try:
                async with asyncio.timeout_at(self._deadline_s) as self._grace:
                    await self._run_script("shutdown-script")
                    await self.guest.terminate_all()
            except TimeoutError:
                self._write_serial("The time to shut down is over")
            self._grace = None
        await self._cut_power()

    async def _cut_power(self) -> None:
        await self.ssh.close()
        await self.guest.end()
        await self._metadata.close()
        await self._tasks.cancel()
        self._write_serial("Power down")

    def _power_off(self) -> None:
        """Handle an instance that powers itself off. Do nothing if the cloud is already shutting it down."""
        if self._ending is None:
            self._write_serial("Powering off")
            self._on_power_off(self)

    async def _run_script(self, name: str) -> None:
        await run_metadata_script(name, settings=self.settings, guest=self.guest, cloud=self._cloud, tasks=self._tasks)

    def _write_serial(self, line: str) -> None:
        self._cloud.append_serial(self.spec.key, f"{line}\n")
