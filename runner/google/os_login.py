"""OS Login: one key pair for this user, its public half in the operator's profile with an expiry."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import CloudError, NotFoundError
from runner.google.rest import Api, segment
from runner.model import names
from runner.system.file_lock import waiting_lock
from runner.system.files import STATE_ELSEWHERE, disk_errors_mapped, write_private

KEY_COMMENT = names.APP
KEY_LIFETIME_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Login:
    """How to log in: POSIX user name, private key file, and the fingerprint of the key in the profile."""

    user: str
    key_file: Path
    fingerprint: str


class OsLogin:
    """The OS Login profile of the operator. Importing the same key again only moves its expiry."""

    def __init__(self, api: Api, *, operator: str, project: str, key_file: Path) -> None:
        self._api = api
        self._profile = f"users/{segment(operator)}"
        self._project = project
        self._key_file = key_file

    def import_key(self, *, lifetime_s: float = KEY_LIFETIME_S) -> Login:
        """Put our public key into the profile for ``lifetime_s`` seconds at least, creating the key pair at the first call.

        All commands of this state folder share one key pair, so its expiry is only ever moved to a later time.

        Raises:
            CloudError: the profile is full (it holds 32 KiB), or importing is not allowed.
            DiskError: the key pair cannot be kept.
        """
        # No other command of this state folder may import the key meanwhile: of two expiries the later one must stay.
        with waiting_lock(self._key_file.with_suffix(".lock")):
            with disk_errors_mapped(self._key_file, more=STATE_ELSEWHERE):
                public = self._public_key()
            present_usec = max(
                (int(key.get("expirationTimeUsec") or 0) for key in self._ours(public).values()), default=0
            )
            expires_usec = max(int((time.time() + lifetime_s) * 1e6), present_usec)
            body = {"key": public, "expirationTimeUsec": str(expires_usec)}
            answer = self._api.post(f"{self._profile}:importSshPublicKey", body, projectId=self._project)
        profile: Mapping[str, Any] = answer.get("loginProfile", {})
        accounts = profile.get("posixAccounts", [])
        primary = next((account for account in accounts if account.get("primary")), accounts[0] if accounts else None)
        if primary is None:
            raise CloudError(
                f"the OS Login profile of {self._profile} has no POSIX account", remedy="see docs/google.md"
            )
        fingerprint = next(iter(_same_key(profile, public)), "")
        return Login(user=str(primary["username"]), key_file=self._key_file, fingerprint=str(fingerprint))

    def _ours(self, public: str) -> Mapping[str, Mapping[str, Any]]:
        """Return our key as the profile has it."""
        try:
            return _same_key(self._api.get(f"{self._profile}/loginProfile"), public)
        except NotFoundError:
            return {}

    def _public_key(self) -> str:
        public_file = self._key_file.with_suffix(".pub")
        if not self._key_file.exists() or not public_file.exists():
            import asyncssh

            key = asyncssh.generate_private_key("ssh-ed25519", comment=KEY_COMMENT)
            write_private(public_file, key.export_public_key())
            write_private(self._key_file, key.export_private_key())
        return public_file.read_text().strip()


def _same_key(profile: Mapping[str, Any], public: str) -> dict[str, Mapping[str, Any]]:
    """Return the keys of a profile that are this one, by fingerprint, whatever their comments."""
    keys: Mapping[str, Mapping[str, Any]] = profile.get("sshPublicKeys", {})
    return {mark: key for mark, key in keys.items() if key.get("key", "").split()[:2] == public.split()[:2]}
