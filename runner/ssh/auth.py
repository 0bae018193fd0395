"""Host keys and authentication, in AsyncSSH's terms. Imports AsyncSSH: load it lazily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncssh

from runner.errors import HostKeyError, RemoteError
from runner.ssh.target import DEFAULT_PORT, SshTarget


class HostKeyCheck(asyncssh.SSHClient):
    """Accepts or refuses a host's key, and remembers why it refused.

    Raises: HostKeyError when a key or a file of trusted ones cannot be read.
    """

    def __init__(self, target: SshTarget) -> None:
        self._target = target
        self._trust = read_trust(target)
        self._name = known_hosts_name(target.host, target.port_used)
        self._known_for_host = 0
        self.refusal: HostKeyError | None = None

    def trusted_keys(self, host: str, addr: str, port: int | None) -> Sequence[Any]:
        """Return the trusted keys, as AsyncSSH's ``known_hosts``. A config file may change ``host`` (HostName, HostKeyAlias) and ``port`` (None for 22)."""
        if not isinstance(self._trust, asyncssh.SSHKnownHosts):
            return self._trust, [], []
        self._name = known_hosts_name(host, port or DEFAULT_PORT)
        self._known_for_host = len(self._trust.match(host, "", port)[0])
        return self._trust.match(host, addr, port)[:3]  # keys, authorities and revoked ones; the rest is of X.509

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Decide about a key that is not among the trusted ones; AsyncSSH calls this."""
        if not self._known_for_host and not self._target.host_keys and self._target.accept_new_host_keys:
            remember_host_key(self._target, self._name, key)
            return True
        self.refusal = self._refuse(host, port, key)
        return False

    def _refuse(self, host: str, port: int, key: asyncssh.SSHKey) -> HostKeyError:
        shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        if self._target.host_keys:
            message = f"{host}:{port} showed the host key {shown}, which is not one of the host keys that were published for it"
            return HostKeyError(
                message, host=host, remedy="another host answers at this address; find out which before you continue"
            )
        file = self._target.known_hosts_paths[0]
        if self._known_for_host:
            message = f"the host key of {host}:{port} has changed: it showed {shown}, and {file} knows another one"
            return HostKeyError(
                message,
                host=host,
                remedy=f"if the change is expected, remove the old key: ssh-keygen -f '{file}' -R '{self._name}'",
            )
        message = f"the host key of {host}:{port} is not known: it showed {shown}"
        remedy = f"compare the fingerprint, then accept it with: ssh-keyscan -p {port} {host} >> '{file}' (or ask for new host keys to be accepted)"
        return HostKeyError(message, host=host, remedy=remedy)


def known_hosts_name(host: str, port: int) -> str:
    """Return a host's name in a known_hosts file."""
    return host if port == 22 else f"[{host}]:{port}"


def remember_host_key(target: SshTarget, name: str, key: asyncssh.SSHKey) -> None:
    """Append an accepted key to the first known_hosts file."""
    file = target.known_hosts_paths[0]
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    words = key.export_public_key("openssh").decode().split()[:2]
    with file.open("a", encoding="utf-8") as lines:
        lines.write(" ".join([name, *words]) + "\n")


def read_trust(target: SshTarget) -> asyncssh.SSHKnownHosts | list[asyncssh.SSHKey]:
    """Return the host keys that were published for this host, else the content of the known_hosts files.

    Raises: HostKeyError when a key or a file cannot be read.
    """
    try:
        if target.host_keys:
            return [asyncssh.import_public_key(line) for line in target.host_keys]
        files = [str(file) for file in target.known_hosts_paths if file.exists()]
        return asyncssh.read_known_hosts(files) if files else asyncssh.import_known_hosts("")
    except (OSError, ValueError, asyncssh.KeyImportError) as error:
        raise HostKeyError(
            f"the known host keys for {target.host} cannot be read: {error}", host=target.host
        ) from error


def connect_options(target: SshTarget, check: HostKeyCheck, password: str | None) -> dict[str, Any]:
    """Return the keyword arguments for ``asyncssh.connect``. Only the requested way of authentication is offered."""
    options: dict[str, Any] = {
        "host": target.host,
        "username": target.user,
        "client_factory": lambda: check,
        "known_hosts": check.trusted_keys,
        "keepalive_interval": target.keepalive_s,
        "keepalive_count_max": 2,
        "connect_timeout": target.connect_timeout_s,
        "login_timeout": target.connect_timeout_s,
        "compression_algs": ["none"],
        "config": None if target.ssh_config_path is None else [str(target.ssh_config_path)],
    }
    if target.port is not None:
        options["port"] = target.port
    if target.ssh_config_path is None:
        options |= {"client_keys": None, "agent_path": None, "gss_auth": False, "gss_kex": False, "password": password}
    if target.key_filename is not None:
        options["client_keys"] = [str(target.key_filename)]
    if target.use_ssh_agent:
        options.pop("client_keys"), options.pop("agent_path")
    return options


def explain_connect_error(target: SshTarget, error: BaseException) -> RemoteError:
    """Return an error with the reason of a failed connection and its remedy."""
    if isinstance(error, RemoteError):
        return error
    where = target.label
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return HostKeyError(f"the host key of {where} cannot be verified: {error.reason}", host=target.host)
    if isinstance(error, asyncssh.PermissionDenied):
        return RemoteError(
            f"{where} refused the login: {error.reason}",
            host=target.host,
            remedy="check the user name and the key, agent or password",
        )
    if isinstance(error, asyncssh.KeyImportError | asyncssh.KeyEncryptionError | FileNotFoundError | PermissionError):
        remedy = "the key file must be there, readable and without a passphrase"
        return RemoteError(f"cannot log in to {where}: {error}", host=target.host, remedy=remedy)
    if isinstance(error, TimeoutError):
        message = f"no answer from {where} within {target.connect_timeout_s:g} s"
        return RemoteError(
            message, host=target.host, remedy="check the address, the firewall and that the host is running"
        )
    reason = getattr(error, "reason", "") or str(error) or type(error).__name__
    return RemoteError(
        f"cannot connect to {where}: {reason}",
        host=target.host,
        remedy="check the address, the firewall and that the host is running",
    )
