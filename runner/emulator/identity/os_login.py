"""OS Login: profiles, and SSH keys with an expiry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from runner.emulator.http import Call, Rule
from runner.emulator.iam import ACCOUNTS
from runner.emulator.state import Clock, CloudSettings, Document, Store
from runner.emulator.wire import api_errors, request_fields
from runner.errors import CloudError

KEYS = "oslogin/"
PROFILE_LIMIT_BYTES = 32 * 1024
KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-dss")
_KEY_BLOB = re.compile(r"AAAA[A-Za-z0-9+/]{16,}={0,2}")
_USER = "/oslogin/v1/users/{user}"


def posix_name(store: Store, email: str) -> str:
    """Return the account name of OS Login: the address with ``_``, or ``sa_<unique ID>`` for service accounts."""
    account = store.get(ACCOUNTS + email)
    if account is not None:
        return f"sa_{account['uniqueId']}"
    return re.sub(r"[^a-z0-9_-]", "_", email.lower())


def valid_keys(store: Store, now: float) -> Mapping[str, tuple[str, ...]]:
    """Return the keys that have not expired, by user."""
    found: dict[str, tuple[str, ...]] = {}
    for path, key in store.items(KEYS):
        if not _is_expired(key, now):
            user = path.split("/")[1]
            found[user] = (*found.get(user, ()), key["key"])
    return found


def _is_expired(key: Document, now: float) -> bool:
    expiry = int(key.get("expirationTimeUsec") or 0)
    return expiry != 0 and expiry <= now * 1e6


class OsLogin:
    """``users/u``."""

    def __init__(self, store: Store, clock: Clock, settings: CloudSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings

    def rules(self) -> list[Rule]:
        key = _USER + "/sshPublicKeys/{fingerprint}"
        both = (key, key + "/")
        return [
            Rule(method="GET", path=_USER + "/loginProfile", act=self.get_profile),
            Rule(
                method="POST",
                path=_USER + ":importSshPublicKey",
                act=self.import_key,
                fields=request_fields.SSH_KEY,
            ),
            *(Rule(method="GET", path=path, act=self.get_key) for path in both),
            *(Rule(method="PATCH", path=path, act=self.patch_key, fields=request_fields.SSH_KEY) for path in both),
            *(Rule(method="DELETE", path=path, act=self.delete_key) for path in both),
        ]

    def get_profile(self, call: Call) -> Document:
        self._check_caller(call)
        return self._profile(call.params["user"])

    def import_key(self, call: Call) -> Document:
        self._check_caller(call)
        text = str(call.body.get("key") or "").strip()
        _check_key(text)
        user = call.params["user"]
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        used = sum(len(key["key"]) for key in self._keys(user) if key["fingerprint"] != fingerprint)
        if used + len(text) > PROFILE_LIMIT_BYTES:
            raise CloudError(
                "Login profile size exceeds 32 KiB. Delete profile values to make additional space.",
                reason="badRequest",
                status=400,
            )
        key = {"key": text, "fingerprint": fingerprint, "name": f"users/{user}/sshPublicKeys/{fingerprint}"}
        self._store.put(f"{KEYS}{user}/{fingerprint}", {**key, **self._expiry(call.body)})
        return {"loginProfile": self._profile(user)}

    def get_key(self, call: Call) -> Document:
        self._check_caller(call)
        return self._find(call)[1]

    def patch_key(self, call: Call) -> Document:
        self._check_caller(call)
        path, key = self._find(call)
        changed = {**key, **self._expiry(call.body)}
        self._store.put(path, changed)
        return changed

    def delete_key(self, call: Call) -> Document:
        self._check_caller(call)
        self._store.delete(self._find(call)[0])
        return {}

    def _check_caller(self, call: Call) -> None:
        if not call.caller.is_owner and call.caller.email != call.params["user"]:
            raise api_errors.forbidden("The caller does not have permission")

    def _find(self, call: Call) -> tuple[str, Document]:
        path = f"{KEYS}{call.params['user']}/{call.params['fingerprint']}"
        key = self._store.get(path)
        if key is None:
            raise api_errors.missing("Requested entity was not found.")
        return path, key

    def _expiry(self, body: Document) -> Document:
        if not body.get("expirationTimeUsec"):
            return {}
        if int(body["expirationTimeUsec"]) <= self._clock.now() * 1e6:
            raise api_errors.invalid("Invalid ssh key expiration time: it is in the past.")
        return {"expirationTimeUsec": str(body["expirationTimeUsec"])}

    def _keys(self, user: str) -> list[Document]:
        return [key for _, key in self._store.items(f"{KEYS}{user}/")]

    def _profile(self, user: str) -> Document:
        username = posix_name(self._store, user)
        keys = self._keys(user)  # expired ones too: they count against the size of the profile until they are deleted
        number = str(int(hashlib.sha256(user.encode()).hexdigest()[:8], 16) % 10**9 + 10**9)
        account = {
            "primary": True,
            "username": username,
            "uid": number,
            "gid": number,
            "homeDirectory": f"/home/{username}",
            "operatingSystemType": "LINUX",
            "accountId": self._settings.project,
            "name": f"users/{user}/projects/{self._settings.project}",
        }
        return {
            "name": str(int(hashlib.sha256(user.encode()).hexdigest()[8:24], 16)),
            "posixAccounts": [account],
            "sshPublicKeys": {key["fingerprint"]: key for key in keys},
        }


def _check_key(text: str) -> None:
    parts = text.split()
    if len(parts) < 2 or parts[0] not in KEY_TYPES or _KEY_BLOB.fullmatch(parts[1]) is None or "\n" in text:
        raise CloudError("Invalid SSH public key.", reason="badRequest", status=400)
