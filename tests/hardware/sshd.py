"""A private OpenSSH server for tests: loopback, a port of its own, its own keys and home folder; no root needed."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import psutil

from tests.needs import need
from tests.system_packages import find_program

START_LIMIT_S = 30.0


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def make_key(path: Path) -> Path:
    """Create an ed25519 key pair."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(mode=0o600)  # sshd takes no key that others may read
    key.write_private_key(str(path))
    key.write_public_key(f"{path}.pub")
    return path


@dataclass(kw_only=True)
class Sshd:
    """A server in ``folder``. ``environment`` is set for every session; ``options`` are further lines of sshd_config."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def user(self) -> str:
        """The account that runs the tests."""
        return getpass.getuser()

    @property
    def key(self) -> Path:
        """The client's private key."""
        return self.folder / "client_key"

    @property
    def host_key_line(self) -> str:
        """The server's public key."""
        return (self.folder / "host_key.pub").read_text()

    def prepare(self) -> None:
        """Create keys and configuration."""
        need("sshd")
        if os.geteuid() == 0:
            # Only as root does sshd insist on this folder.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        make_key(self.folder / "host_key")
        shutil.copy(make_key(self.key).with_suffix(".pub"), self.folder / "authorized_keys")
        self.port = self.port or free_port()
        self._write_config()

    def _write_config(self) -> None:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f'HostKey "{self.folder}/host_key"',
            f'PidFile "{self.folder}/pid"',
            f'AuthorizedKeysFile "{self.folder}/authorized_keys"',
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "Subsystem sftp internal-sftp",
            "LogLevel VERBOSE",
            *(f"SetEnv {' '.join(_quote_env(self.environment))}" for _ in [1] if self.environment),
            *self.options,
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def start(self) -> Sshd:
        """Start, and wait until it answers."""
        log = (self.folder / "log").open("ab")
        command = [str(find_program("sshd")), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        give_up = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise AssertionError(f"sshd did not start: {(self.folder / 'log').read_text()}")

    def cut_connections(self) -> None:
        """Kill the processes that serve connections, not the server and not the jobs (which are in sessions of their own)."""
        assert self.process is not None
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                if "sshd" in " ".join(child.cmdline()):
                    child.kill()

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stop the server and cut its connections."""
        if self.process is not None:
            self.cut_connections()
            self.process.kill()
            self.process.wait()
            self.process = None


def _quote_env(environment: Mapping[str, str]) -> list[str]:
    return [
        '"' + f"{name}={value}".replace("\\", "\\\\").replace('"', '\\"') + '"' for name, value in environment.items()
    ]
