"""The target of an SSH connection and how its host is verified: a value, without any SSH library."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 22
_HOST_PORT = re.compile(
    r"\[(?P<bracketed>[^\]]+)\](?::(?P<port1>\d+))?|(?P<plain>[^:]+)(?::(?P<port2>\d+))?|(?P<ipv6>.*:.*:.*)"
)


def split_host(text: str) -> tuple[str, int | None]:
    """Split ``HOST``, ``HOST:PORT``, ``[IPv6]:PORT`` or a bare IPv6 address into host and port (None if not given).

    Raises: ValueError for an empty host or an impossible port.
    """
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is neither HOST nor HOST:PORT")
    host = match["bracketed"] or match["plain"] or match["ipv6"]
    digits = match["port1"] or match["port2"]
    if digits is not None and not 0 < int(digits) < 65536:
        raise ValueError(f"{text!r}: a port is between 1 and 65535")
    return host, None if digits is None else int(digits)


@dataclass(frozen=True, kw_only=True)
class SshTarget:
    """One account on one host.

    ``host_keys``: the host's public keys (``ssh-ed25519 AAAA…``); if there are any, nothing else is trusted. Otherwise ``known_hosts`` files are
    read (None: the user's own and the system's). ``ask_password(prompt)`` is called, outside the event loop, only when no key file, config file or
    agent was asked for; None as its answer gives up. ``reconnect_limit_s``: how long to try to restore a lost connection before the call that needs it fails.
    """

    host: str
    user: str
    port: int | None = None
    key_filename: Path | None = None
    ssh_config_path: Path | None = None
    use_ssh_agent: bool = False
    ask_password: Callable[[str], str | None] | None = None
    max_attempts: int = 3
    host_keys: tuple[str, ...] = ()
    known_hosts: tuple[Path, ...] | None = None
    accept_new_host_keys: bool = False
    connect_timeout_s: float = 20.0
    keepalive_s: float = 60.0
    reconnect_limit_s: float = 60.0

    @property
    def port_used(self) -> int:
        """The port, unless a config file gives another one."""
        return DEFAULT_PORT if self.port is None else self.port

    @property
    def label(self) -> str:
        """``user@host`` or ``user@host:port``, for messages."""
        port = "" if self.port_used == DEFAULT_PORT else f":{self.port_used}"
        return f"{self.user}@{self.host}{port}"

    @property
    def known_hosts_paths(self) -> tuple[Path, ...]:
        """The known_hosts files to read; the first one is where a newly accepted key is written."""
        if self.known_hosts is not None:
            return self.known_hosts
        return (Path.home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts"))
