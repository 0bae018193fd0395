"""The SSH server of one instance: its host key, logins and connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import asyncssh

from runner.emulator.machines import metadata_tree
from runner.emulator.machines.background import BackgroundTasks
from runner.emulator.machines.faults import Faults
from runner.emulator.machines.guest import Guest
from runner.emulator.machines.interface import Cloud, LoginUser
from runner.emulator.machines.login import GuestSettings, grant_sudo, make_home
from runner.emulator.machines.relay import RESET_ON_CLOSE, relay_until
from runner.emulator.machines.ssh_session import GuestSession, Login

HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
HOST_KEY_ALGORITHM = "ssh-ed25519"
SWITCH_OS_LOGIN = "enable-oslogin"
MAX_SESSIONS = 10
"""sshd's default MaxSessions for one connection."""


def load_host_key(root: Path, name: str) -> asyncssh.SSHKey:
    """Load the host key of a root folder, and create it if there is none."""
    path = root / HOST_KEY
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = asyncssh.generate_private_key(HOST_KEY_ALGORITHM, comment=f"root@{name}")
        key.write_public_key(path.with_name(f"{path.name}.pub"))
        path.touch(mode=0o600)
        key.write_private_key(path)
    return asyncssh.read_private_key(path)


def key_blob(public_key: str) -> str:
    """Return the base64 part of a public key in OpenSSH's one-line form; empty if it is not one."""
    parts = public_key.split()
    return parts[1] if len(parts) > 1 else ""


class ConnectionHandler(asyncssh.SSHServer):
    """Handles one connection: authenticates users of OS Login by public key, and opens sessions."""

    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._login: Login | None = None
        self._sessions: set[GuestSession] = set()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Register the connection."""
        self._connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Unregister the connection."""
        self._server.connections.discard(self._connection)

    def begin_auth(self, _username: str) -> bool:
        """Require authentication."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Support public keys, and nothing else."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Return whether this key belongs to this user now."""
        user = self._server.find_user(username, key_blob(key.export_public_key().decode()))
        if user is None:
            return False
        self._login = self._server.prepare_login(user, self._connection)
        return True

    def session_requested(self) -> GuestSession | bool:
        """Open a session, unless the connection already has as many as sshd allows."""
        if self._login is None or len(self._sessions) >= MAX_SESSIONS:
            return False
        return GuestSession(self._login, self._sessions)

    def connection_requested(self, _host: str, _port: int, _orig_host: str, _orig_port: int) -> bool:
        """Allow forwarding to any address, as sshd does by default."""
        return True


class SshServer:
    """Listens for one instance, from ``start`` to ``close``."""

    def __init__(self, *, settings: GuestSettings, guest: Guest, cloud: Cloud, faults: Faults) -> None:
        self._settings = settings
        self._guest = guest
        self._cloud = cloud
        self._faults = faults
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._tasks = BackgroundTasks()
        self._ignored: list[socket.socket] = []

    async def start(self) -> str:
        """Listen, and return the base64 blob of the public host key. Raises OSError if the address is not available."""
        spec = self._settings.spec
        key = load_host_key(spec.root, spec.name)
        self._options = await asyncssh.SSHServerConnectionOptions.construct(
            None, config=None, server_factory=lambda: ConnectionHandler(self), server_host_keys=[key], encoding=None,
            password_auth=False, kbdint_auth=False, host_based_auth=False, gss_host=None, line_editor=False,
            agent_forwarding=False, x11_forwarding=False, allow_scp=True, compression_algs=["none"],
        )  # fmt: skip
        self._listener = socket.create_server((spec.address, spec.ssh_port), backlog=128, reuse_port=False)
        self._listener.setblocking(False)
        self._tasks.start(self._accept())
        return key_blob(key.export_public_key().decode())

    async def close(self) -> None:
        """Stop listening, and drop every connection at once. Idempotent."""
        self.drop_connections()
        while self._ignored:
            self._ignored.pop().close()
        await self._tasks.cancel()
        self._listener.close()

    def drop_connections(self) -> None:
        """Drop every open connection."""
        for connection in list(self.connections):
            connection.abort()

    def stop_responding(self) -> None:
        """Stop reading from all connections, and so stop responding."""
        for connection in self.connections:
            transport = connection._transport  # asyncssh has no public attribute for it
            if isinstance(transport, asyncio.Transport):
                transport.pause_reading()

    def find_user(self, username: str, blob: str) -> LoginUser | None:
        """Find the user with this name and key, if OS Login is enabled for this instance and has them."""
        if not metadata_tree.is_true(
            metadata_tree.attribute(self._cloud.metadata(self._settings.spec.key), SWITCH_OS_LOGIN)
        ):
            return None
        users = (user for user in self._cloud.login_users() if user.username == username)
        return next((user for user in users if blob in map(key_blob, user.keys)), None)

    def prepare_login(self, user: LoginUser, connection: asyncssh.SSHServerConnection) -> Login:
        """Prepare the instance for a user who has authenticated."""
        spec = self._settings.spec
        grant_sudo(spec.root, user)
        home = make_home(spec.root, user.username)
        peer = connection.get_extra_info("peername") or (spec.address, 0)
        client = f"{peer[0]} {peer[1]} {spec.address} {spec.ssh_port}"
        return Login(
            settings=self._settings, guest=self._guest, faults=self._faults, username=user.username, home=home,
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
                self._ignored.append(connection)
            else:
                self._tasks.start(self._serve(self._cut(connection)))

    def _cut(self, connection: socket.socket) -> socket.socket:
        """Insert a relay that ends after a number of bytes, if that fault is set."""
        limit_bytes = self._faults.take_cut()
        if limit_bytes is None:
            return connection
        ours, theirs = socket.socketpair()
        self._tasks.start(relay_until(connection, theirs, limit_bytes))
        return ours

    async def _serve(self, connection: socket.socket) -> None:
        """Serve one connection up to its login; asyncssh does the rest."""
        with contextlib.suppress(asyncssh.Error, OSError):
            await asyncssh.run_server(connection, config=None, options=self._options)
