"""``endpoint.json``: the address and the process of the embedded cloud of a state folder."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from runner.emulator.state import read_owner_token
from runner.system.files import write_private

_START_TOLERANCE_S = 0.05
_CONNECT_LIMIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """``started`` is the process's start in seconds since 1970, which together with ``pid`` identifies it for good.

    ``token_file`` holds the owner's token; it is empty for a cloud of a version that required none. ``objects_closed``:
    no other user of this computer can bypass us to reach the object store (see ``object_gate``).
    """

    pid: int
    started: float
    url: str
    provider_port: int
    ssh_port: int
    project: str
    region: str
    zone: str
    user: str
    token_file: str = ""
    objects_closed: bool = False

    def read_token(self) -> str:
        """Return the owner's token. It is not a field, so that it is not printed with the rest.

        Raises:
            OSError: it cannot be read, or is gone with its cloud.
        """
        return read_owner_token(Path(self.token_file))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the owner sends with every request.

        Raises:
            OSError: as ``read_token``.
        """
        return {"Authorization": f"Bearer {self.read_token()}"}

    def is_alive(self) -> bool:
        """Whether that very process exists (not another one that got its process ID)."""
        try:
            process = psutil.Process(self.pid)
            is_it = abs(process.create_time() - self.started) < _START_TOLERANCE_S
            return is_it and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def has_stopped_listening(self) -> bool:
        """Whether its address has no listener any more, as when its process was killed a moment ago but still exists."""
        where = urlsplit(self.url)
        try:
            socket.create_connection((where.hostname or "", where.port or 0), timeout=_CONNECT_LIMIT_S).close()
        except ConnectionRefusedError:
            return True
        except OSError:  # slow, but not closed
            return False
        return False


def endpoint_file(state: Path) -> Path:
    return state / "endpoint.json"


def write_endpoint(state: Path, document: Mapping[str, Any]) -> None:
    """Write the file atomically, so that no reader sees half of it."""
    write_private(endpoint_file(state), json.dumps(document).encode())


def read_endpoint(state: Path) -> Endpoint | None:
    """Return the endpoint, None if the file does not exist or cannot be read; its process may be dead."""
    try:
        document = json.loads(endpoint_file(state).read_text())
        return Endpoint(**{field.name: document[field.name] for field in fields(Endpoint) if field.name in document})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_endpoint(state: Path, *, pid: int) -> None:
    """Remove the file, but only if it is that process's own."""
    found = read_endpoint(state)
    if found is not None and found.pid == pid:
        endpoint_file(state).unlink(missing_ok=True)
