"""A hypervisor with a cloud made of dictionaries, for the tests of ``runner.emulator.machines``."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from runner.emulator.machines.disks import clone_root, make_base_root
from runner.emulator.machines.hypervisor import LocalHypervisor
from runner.emulator.machines.interface import LoginUser, MachineSpec

USERNAME = "you_example_com"
SERVICE_ACCOUNT = "vm@local-project.iam.gserviceaccount.com"
LIMIT_S = 60.0


@dataclass
class FakeCloud:
    """Records what instances report."""

    users: list[LoginUser] = field(default_factory=list)
    attributes: dict[str, str] = field(
        default_factory=lambda: {"enable-oslogin": "TRUE", "enable-guest-attributes": "TRUE"}
    )
    instance: dict[str, object] = field(default_factory=dict)
    guest: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    serial: dict[str, str] = field(default_factory=dict)
    powered_off: list[str] = field(default_factory=list)

    def login_users(self) -> Sequence[LoginUser]:
        return self.users

    def metadata(self, key: str) -> Mapping[str, object]:
        account = {"aliases": ["default"], "email": SERVICE_ACCOUNT, "scopes": ["scope-a", "scope-b"]}
        instance: dict[str, object] = {
            "attributes": self.attributes,
            "id": 42,
            "machineType": "projects/1/machineTypes/n2-standard-2",
            "name": key.rpartition("/")[2],
            "networkInterfaces": [{"ip": "127.0.0.9", "accessConfigs": [{"externalIp": "127.0.0.9"}]}],
            "preempted": False,
            "serviceAccounts": {"default": account, SERVICE_ACCOUNT: account},
        }
        project = {"attributes": {"team": "structures"}, "numericProjectId": 1, "projectId": "local-project"}
        return {"instance": instance | self.instance, "project": project}

    def access_token(self, key: str) -> Mapping[str, object]:
        return {"access_token": f"token-of-{key}", "expires_in": 3599, "token_type": "Bearer"}

    def set_guest_attribute(self, key: str, namespace: str, name: str, value: str) -> None:
        self.guest.setdefault(key, {}).setdefault(namespace, {})[name] = value

    def delete_guest_attribute(self, key: str, namespace: str, name: str) -> None:
        self.guest.get(key, {}).get(namespace, {}).pop(name, None)

    def guest_attributes(self, key: str) -> Mapping[str, Mapping[str, str]]:
        return self.guest.get(key, {})

    def append_serial(self, key: str, text: str) -> None:
        self.serial[key] = self.serial.get(key, "") + text

    def guest_powered_off(self, key: str) -> None:
        self.powered_off.append(key)


@dataclass
class Lab:
    """A hypervisor, its cloud, a base image, and the operator's key."""

    hypervisor: LocalHypervisor
    cloud: FakeCloud
    folder: Path
    key: asyncssh.SSHKey
    ssh_port: int

    async def boot(self, name: str = "m-0") -> MachineSpec:
        """Boot an instance of that name with a root of its own."""
        root = self.folder / "disks" / name / "root"
        if not root.exists():
            clone_root(self.folder / "image/root", root)
        spec = MachineSpec(
            key=f"projects/p/zones/z/instances/{name}",
            name=name,
            root=root,
            address=self.hypervisor.free_address(()),
            ssh_port=self.ssh_port,
            vcpus=2,
        )
        await self.hypervisor.boot(spec)
        return spec

    def connect(self, spec: MachineSpec, **options: Any) -> Any:
        """Open an SSH connection that trusts only the published host key; await it or enter it, like asyncssh's."""
        blob = self.cloud.guest[spec.key]["hostkeys"]["ssh-ed25519"]
        known = asyncssh.import_known_hosts(f"[{spec.address}]:{spec.ssh_port} ssh-ed25519 {blob}\n")
        wanted: dict[str, Any] = {
            "username": USERNAME,
            "client_keys": [self.key],
            "known_hosts": known,
            "agent_path": None,
        } | options
        return asyncssh.connect(spec.address, spec.ssh_port, config=None, **wanted)

    def write_key(self) -> Path:
        """Write the operator's private key to a file, for programs."""
        path = self.folder / "key"
        if not path.exists():
            path.touch(mode=0o600)
            self.key.write_private_key(path)
        return path


def free_port() -> int:
    """Find a port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def open_lab(folder: Path) -> AsyncIterator[Lab]:
    """Open a lab, and close it at the end."""
    make_base_root(folder / "image/root", os_name="debian-12")
    key = asyncssh.generate_private_key("ssh-ed25519")
    cloud = FakeCloud()
    cloud.users.append(LoginUser(username=USERNAME, keys=(key.export_public_key().decode().strip(),), sudo=True))
    hypervisor = LocalHypervisor(cloud, url="http://127.0.0.1:9", user="you@example.com")
    try:
        yield Lab(hypervisor=hypervisor, cloud=cloud, folder=folder, key=key, ssh_port=free_port())
    finally:
        await hypervisor.close()


async def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a generous time."""
    end_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end_s, "it never happened"
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process still runs (a zombie does not)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"
