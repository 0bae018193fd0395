"""The SSH server of one instance: its host key, who may log in, its connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from pathlib import Path

import asyncssh

from runner.emulator.machines import metadata_tree
from runner.emulator.machines.faults import Faults
from runner.emulator.machines.guest import Guest
from runner.emulator.machines.login import Surroundings, grant_sudo, make_home
from runner.emulator.machines.relay import RESET_ON_CLOSE, relay_until
from runner.emulator.machines.seam import Cloud, LoginUser
from runner.emulator.machines.ssh_session import GuestSession, Visit

HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
HOST_KEY_ALGORITHM = "ssh-ed25519"
SWITCH_OS_LOGIN = "enable-oslogin"
MOST_SESSIONS = 10
"""sshd's default MaxSessions for one connection."""


def load_host_key(root: Path, name: str) -> asyncssh.SSHKey:
    """The host key of a root folder, made if there is none."""
    path = root / HOST_KEY
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = asyncssh.generate_private_key(HOST_KEY_ALGORITHM, comment=f"root@{name}")
        key.write_public_key(path.with_name(f"{path.name}.pub"))
        path.touch(mode=0o600)
        key.write_private_key(path)
    return asyncssh.read_private_key(path)


def key_blob(public_key: str) -> str:
    """The base64 part of a public key in OpenSSH's one-line form; empty if it is none."""
    parts = public_key.split()
    return parts[1] if len(parts) > 1 else ""


class Doorkeeper(asyncssh.SSHServer):
    """Lets in whom OS Login knows at this moment, by public key only."""

    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._visit: Visit | None = None
        self._sessions: set[GuestSession] = set()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Somebody is at the door."""
        self._connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, _exc: Exception | None) -> None:
        """They are gone."""
        self._server.connections.discard(self._connection)

    def begin_auth(self, _username: str) -> bool:
        """Nobody comes in without proof."""
        return True

    def public_key_auth_supported(self) -> bool:
        """This is the one proof."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether this key is one of this user's, now."""
        user = self._server.find_user(username, key_blob(key.export_public_key().decode()))
        if user is None:
            return False
        self._visit = self._server.admit(user, self._connection)
        return True

    def session_requested(self) -> GuestSession | bool:
        """Open a session, unless there are as many as sshd allows on one connection."""
        if self._visit is None or len(self._sessions) >= MOST_SESSIONS:
            return False
        return GuestSession(self._visit, self._sessions)

    def connection_requested(self, _host: str, _port: int, _orig_host: str, _orig_port: int) -> bool:
        """Forwarding from the instance to anywhere, as sshd allows by default."""
        return True


class SshServer:
    """Listens for one instance, from ``start`` to ``close``."""

    def __init__(self, *, around: Surroundings, guest: Guest, cloud: Cloud, faults: Faults) -> None:
        self._around = around
        self._guest = guest
        self._cloud = cloud
        self._faults = faults
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[socket.socket] = []

    async def start(self) -> str:
        """Listen. Returns the base64 blob of the public host key. Raises: OSError if the address cannot be had."""
        spec = self._around.spec
        key = load_host_key(spec.root, spec.name)
        self._options = await asyncssh.SSHServerConnectionOptions.construct(
            None, config=None, server_factory=lambda: Doorkeeper(self), server_host_keys=[key], encoding=None,
            password_auth=False, kbdint_auth=False, host_based_auth=False, gss_host=None, line_editor=False,
            agent_forwarding=False, x11_forwarding=False, allow_scp=True, compression_algs=["none"],
        )  # fmt: skip
        self._listener = socket.create_server((spec.address, spec.ssh_port), backlog=128, reuse_port=False)
        self._listener.setblocking(False)
        self._run(self._accept())
        return key_blob(key.export_public_key().decode())

    async def close(self) -> None:
        """Listen no more; every connection is lost at once. Idempotent."""
        self.drop_connections()
        while self._held:
            self._held.pop().close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    def drop_connections(self) -> None:
        """Lose every connection that there is."""
        for connection in list(self.connections):
            connection.abort()

    def fall_silent(self) -> None:
        """Hear nothing more on any connection, and so answer nothing."""
        for connection in self.connections:
            transport = connection._transport  # asyncssh shows it to nobody
            if isinstance(transport, asyncio.Transport):
                transport.pause_reading()

    def find_user(self, username: str, blob: str) -> LoginUser | None:
        """The user with this name and key, if OS Login is on for this instance and knows them."""
        if not metadata_tree.is_true(
            metadata_tree.attribute(self._cloud.metadata(self._around.spec.key), SWITCH_OS_LOGIN)
        ):
            return None
        users = (user for user in self._cloud.login_users() if user.username == username)
        return next((user for user in users if blob in map(key_blob, user.keys)), None)

    def admit(self, user: LoginUser, connection: asyncssh.SSHServerConnection) -> Visit:
        """Prepare the instance for somebody who has shown one of their keys."""
        spec = self._around.spec
        grant_sudo(spec.root, user)
        home = make_home(spec.root, user.username)
        peer = connection.get_extra_info("peername") or (spec.address, 0)
        client = f"{peer[0]} {peer[1]} {spec.address} {spec.ssh_port}"
        return Visit(
            around=self._around, guest=self._guest, faults=self._faults, username=user.username, home=home,
            ssh_connection=client,
        )  # fmt: skip

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _address = await loop.sock_accept(self._listener)
            if self._faults.refuses_ssh(loop.time()):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                connection.close()
            elif self._faults.hangs:
                self._held.append(connection)
            else:
                self._run(self._serve(self._cut(connection)))

    def _cut(self, connection: socket.socket) -> socket.socket:
        """Put a relay in between that ends after so many bytes, if that is asked for."""
        limit_bytes = self._faults.take_cut()
        if limit_bytes is None:
            return connection
        ours, theirs = socket.socketpair()
        self._run(relay_until(connection, theirs, limit_bytes))
        return ours

    async def _serve(self, connection: socket.socket) -> None:
        """Serve one connection up to its login; afterwards it lives by itself."""
        with contextlib.suppress(asyncssh.Error, OSError):
            await asyncssh.run_server(connection, config=None, options=self._options)

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
