"""The interface between the emulated machine beneath an instance and the cloud around it: values and one Protocol, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """The emulated machine to run beneath an instance. ``key``: ``projects/p/zones/z/instances/n``; ``root``: the folder of its boot disk."""

    key: str
    name: str
    root: Path
    address: str
    ssh_port: int
    vcpus: int


@dataclass(frozen=True, kw_only=True)
class LoginUser:
    """A user who may log in now: POSIX name, public keys in OpenSSH's one-line form, and whether ``sudo`` is granted."""

    username: str
    keys: tuple[str, ...]
    sudo: bool


class Cloud(Protocol):
    """The cloud as seen by an instance. Called in the event loop's thread; no method blocks; none raises unless stated."""

    def login_users(self) -> Sequence[LoginUser]:
        """Return all users whose OS Login keys are valid now; called at each login."""

    def metadata(self, key: str) -> Mapping[str, object]:
        """Return the tree of ``computeMetadata/v1`` in the form of ``?recursive=true``: ``{"instance": {…}, "project": {…}}``.

        It lacks the parts that the metadata server provides itself: tokens and guest attributes.
        """

    def access_token(self, key: str) -> Mapping[str, object]:
        """Return ``access_token``, ``expires_in`` (seconds) and ``token_type`` for the instance's service account.

        Raises:
            NotFoundError: it has none, or the account was deleted.
        """

    def set_guest_attribute(self, key: str, namespace: str, name: str, value: str) -> None:
        """Store a guest attribute; the last value wins."""

    def delete_guest_attribute(self, key: str, namespace: str, name: str) -> None:
        """Delete a guest attribute; no error if there is none."""

    def guest_attributes(self, key: str) -> Mapping[str, Mapping[str, str]]:
        """Return all guest attributes: namespace, name, value."""

    def append_serial(self, key: str, text: str) -> None:
        """Append to the output of serial port 1."""

    def guest_powered_off(self, key: str) -> None:
        """Handle an instance that powered itself off (``poweroff``, or its init died); none of its processes is left."""
