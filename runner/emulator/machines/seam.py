"""What a machine is told, and what it asks of the cloud around it. Values and one Protocol; no behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """One instance that is to run. ``key``: ``projects/p/zones/z/instances/n``; ``root``: the folder of its boot disk."""

    key: str
    name: str
    root: Path
    address: str
    ssh_port: int
    vcpus: int


@dataclass(frozen=True, kw_only=True)
class LoginUser:
    """Someone who may log in now: posix name, public keys in OpenSSH's one-line form, and whether ``sudo`` is granted."""

    username: str
    keys: tuple[str, ...]
    sudo: bool


class Cloud(Protocol):
    """The cloud as seen by a machine. Called in the event loop's thread; no method blocks; none raises but where it says so."""

    def login_users(self) -> Sequence[LoginUser]:
        """Everybody whose OS Login keys are valid at this moment; asked anew at each login."""

    def metadata(self, key: str) -> Mapping[str, object]:
        """The tree of ``computeMetadata/v1`` in the form of ``?recursive=true``: ``{"instance": {…}, "project": {…}}``.

        Without the parts that the metadata server answers itself: tokens and guest attributes.
        """

    def access_token(self, key: str) -> Mapping[str, object]:
        """``access_token``, ``expires_in`` (seconds) and ``token_type`` for the machine's service account.

        Raises: NotFoundError, if it has none or the account was deleted.
        """

    def set_guest_attribute(self, key: str, namespace: str, name: str, value: str) -> None:
        """Keep a guest attribute; the last value wins."""

    def delete_guest_attribute(self, key: str, namespace: str, name: str) -> None:
        """Forget a guest attribute; no error if there is none."""

    def guest_attributes(self, key: str) -> Mapping[str, Mapping[str, str]]:
        """All guest attributes: namespace, name, value."""

    def append_serial(self, key: str, text: str) -> None:
        """Add to the output of serial port 1."""

    def guest_powered_off(self, key: str) -> None:
        """The machine ended by itself (``poweroff``, or its init died); none of its processes is left."""
