"""How the job interfaces reach their host over SSH."""

from __future__ import annotations

import getpass
from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict, Unpack

from runner.hardware.interface import HardwareInterface
from runner.ssh import Connection, SshTarget, split_host, wait_for_ssh

FilePath = str | Path


class SshOptions(TypedDict, total=False):
    """Further options of a connection.

    ``port``: instead of HOST:PORT. ``host_keys``: the host's public keys, as ``ssh-ed25519 AAAA…`` or as a mapping of type to key; nothing else is
    then trusted. ``known_hosts``: files to verify the host with instead of the user's own. ``accept_new_host_keys``: trust and remember the key of a
    host that no file knows. ``ask_password``: shows a prompt and returns what was typed, None to give up. ``boot_timeout_s``: how long to wait for a
    host that is booting (0: it must answer now). ``reconnect_limit_s``: how long to try to restore a lost connection.
    """

    port: int | None
    host_keys: Mapping[str, str] | Sequence[str]
    known_hosts: FilePath | Sequence[FilePath] | None
    accept_new_host_keys: bool
    ask_password: Callable[[str], str | None]
    connect_timeout_s: float
    keepalive_s: float
    reconnect_limit_s: float
    boot_timeout_s: float


class SSHInterface(HardwareInterface, ABC):
    """A host on SSH. The constructor connects; use it in ``with``, or close it.

    Raises: TypeError for an unknown option; ValueError if more than one way to authenticate is given, or a path is empty; HardwareInterfaceFailureError if there is no connection.
    """

    def __init__(
        self,
        user: str,
        host: str,
        name: str,
        level: int = 1,
        key_filename: FilePath | None = None,
        ssh_config_path: FilePath | None = None,
        use_ssh_agent: bool | None = False,
        max_attempts: int = 3,
        **options: Unpack[SshOptions],
    ) -> None:
        super().__init__(name, level)
        _check_options(type(self).__name__, options)
        self.max_attempts = max_attempts
        self._user, self._host = user, host
        if sum([key_filename is not None, ssh_config_path is not None, bool(use_ssh_agent)]) > 1:
            raise ValueError("give one way to authenticate only: 'key_filename', 'ssh_config_path' or 'use_ssh_agent'")
        asks = key_filename is None and ssh_config_path is None and not use_ssh_agent
        bare_host, port = split_host(host)
        target = SshTarget(
            host=bare_host,
            user=user,
            port=options.get("port") or port,
            key_filename=_path("key_filename", key_filename),
            ssh_config_path=_path("ssh_config_path", ssh_config_path),
            use_ssh_agent=bool(use_ssh_agent),
            ask_password=options.get("ask_password", getpass.getpass) if asks else None,
            max_attempts=max_attempts,
            **_target_options(options),
        )
        boot_timeout_s = options.get("boot_timeout_s", 0.0)
        self._connection = wait_for_ssh(target, timeout_s=boot_timeout_s) if boot_timeout_s else Connection(target)

    @property
    def host(self) -> str:
        """(Read-only) The host, as given."""
        return self._host

    @property
    def user(self) -> str:
        """(Read-only) The account on the host."""
        return self._user

    def close(self) -> None:
        """Close the connection. Jobs keep running."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _TargetOptions(TypedDict, total=False):
    host_keys: tuple[str, ...]
    known_hosts: tuple[Path, ...]
    accept_new_host_keys: bool
    connect_timeout_s: float
    keepalive_s: float
    reconnect_limit_s: float


def _target_options(options: SshOptions) -> _TargetOptions:
    kept: _TargetOptions = {"host_keys": host_key_lines(options.get("host_keys", ()))}
    files = options.get("known_hosts")
    if files is not None:
        kept["known_hosts"] = tuple(Path(file) for file in ([files] if isinstance(files, str | Path) else files))
    if "accept_new_host_keys" in options:
        kept["accept_new_host_keys"] = options["accept_new_host_keys"]
    if "connect_timeout_s" in options:
        kept["connect_timeout_s"] = options["connect_timeout_s"]
    if "keepalive_s" in options:
        kept["keepalive_s"] = options["keepalive_s"]
    if "reconnect_limit_s" in options:
        kept["reconnect_limit_s"] = options["reconnect_limit_s"]
    return kept


def host_key_lines(keys: Mapping[str, str] | Sequence[str]) -> tuple[str, ...]:
    """Return host keys as lines ``TYPE BASE64``, from such lines or from a mapping as in guest attributes."""
    if isinstance(keys, Mapping):
        return tuple(blob if blob.startswith(kind) else f"{kind} {blob}" for kind, blob in keys.items())
    return tuple(keys)


def _check_options(name: str, options: Iterable[str]) -> None:
    for option in options:
        if option not in SshOptions.__annotations__:
            raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")


def _path(name: str, given: FilePath | None) -> Path | None:
    if given == "":
        raise ValueError(f"'{name}' is empty: give the path of a file, or leave it out")
    return None if given is None else Path(given).expanduser()
