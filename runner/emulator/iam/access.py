"""Identifies callers, and decides what they may do.

The token of the state folder (``owner``) belongs to the project's owner. A token from the metadata server belongs to its
service account, and each call with it is checked against the policies of the project and of the resource. Every other
request is unauthenticated.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner.emulator.faults import Faults
from runner.emulator.iam.conditions import condition_holds, describe_resource
from runner.emulator.iam.roles import ROLE_PERMISSIONS, grants
from runner.emulator.state import Clock, CloudSettings, Document, Store
from runner.emulator.wire import api_errors, fresh_fingerprint

TOKEN_LIFETIME_S = 3600

ACCOUNTS = "iam/accounts/"
ROLES = "iam/roles/"
POLICIES = "iam/policies/"
NEVER_SET = "ACAB"
TOKENS = "tokens/"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An authenticated caller; ``member`` as policies write it: ``user:…`` or ``serviceAccount:…``."""

    email: str
    is_owner: bool

    @property
    def member(self) -> str:
        return f"{'user' if self.is_owner else 'serviceAccount'}:{self.email}"


class Access:
    """Tokens, policies, and the decisions that follow from them."""

    def __init__(
        self, store: Store, clock: Clock, faults: Faults, settings: CloudSettings, *, owner_token: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._settings = settings
        self._owner_token = owner_token

    def identify(self, authorization: str | None) -> Caller:
        """Identify the caller by an ``Authorization`` header.

        Raises:
            PermissionDeniedError: 401, there is no header, the token is unknown or expired, or its account is gone.
        """
        if not authorization:
            raise api_errors.no_credential()
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise api_errors.unauthenticated()
        token = token.strip()
        if secrets.compare_digest(token.encode(), self._owner_token.encode()):
            return Caller(email=self._settings.user, is_owner=True)
        issued = self._store.get(TOKENS + token) if token else None
        if issued is None:
            raise api_errors.unauthenticated()
        account = self._store.get(ACCOUNTS + issued["email"])
        if issued["expires"] <= self._clock.now() or account is None or account.get("disabled"):
            raise api_errors.unauthenticated()
        return Caller(email=issued["email"], is_owner=False)

    def issue_token(self, email: str) -> Document:
        """Issue a token for a service account, in the form of the metadata server's response."""
        self._drop_old_tokens()
        token = "ya29.l." + secrets.token_urlsafe(32)
        self._store.put(TOKENS + token, {"email": email, "expires": self._clock.now() + TOKEN_LIFETIME_S})
        return {"access_token": token, "expires_in": TOKEN_LIFETIME_S, "token_type": "Bearer"}

    def _drop_old_tokens(self) -> None:
        for key, issued in self._store.items(TOKENS):
            if issued["expires"] <= self._clock.now():
                self._store.delete(key)

    def require(self, caller: Caller, permission: str, resource: str, *, owners: Sequence[str] = ()) -> None:
        """Raise PermissionDeniedError unless the caller has the permission.

        ``owners``: resources whose policies count in addition to the project's, e.g. a bucket.
        """
        if not self.allows(caller, permission, resource, owners=owners):
            raise api_errors.permission_denied(permission, resource)

    def allows(self, caller: Caller, permission: str, resource: str, *, owners: Sequence[str] = ()) -> bool:
        if caller.is_owner:
            return True
        return self.member_has(caller.member, permission, resource, owners=owners)

    def member_has(self, member: str, permission: str, resource: str, *, owners: Sequence[str] = ()) -> bool:
        """Return whether the policies in force now give a member a permission on a resource."""
        attributes = describe_resource(resource, datetime.fromtimestamp(self._clock.now(), UTC))
        for binding in self._bindings_in_force([f"projects/{self._settings.project}", *owners]):
            if member in binding.get("members", ()) or "allUsers" in binding.get("members", ()):
                condition = (binding.get("condition") or {}).get("expression")
                if grants(self.role_permissions(binding["role"]), permission) and (
                    condition is None or condition_holds(condition, attributes)
                ):
                    return True
        return False

    def role_permissions(self, role: str) -> frozenset[str]:
        if role in ROLE_PERMISSIONS:
            return ROLE_PERMISSIONS[role]
        custom = self._store.get(ROLES + role) or {}
        return frozenset() if custom.get("deleted") else frozenset(custom.get("includedPermissions", ()))

    def role_exists(self, role: str) -> bool:
        if role.startswith("roles/"):
            return True
        custom = self._store.get(ROLES + role)
        return custom is not None and not custom.get("deleted")

    def _bindings_in_force(self, owners: Sequence[str]) -> Iterator[Document]:
        for owner in owners:
            policy = self._store.get(POLICIES + owner) or {}
            late = policy.get("in_force_at", 0.0) > self._clock.now()
            yield from policy.get("before" if late else "bindings", ())

    def policy(self, owner: str) -> Document:
        """Return the policy of a resource. One that was never set has the same etag as at Google; reading it changes nothing."""
        return self._store.get(POLICIES + owner) or {"version": 1, "etag": NEVER_SET, "bindings": []}

    def set_policy(self, owner: str, bindings: list[Document], version: int) -> Document:
        """Replace the bindings; with an ``iam_delay`` fault the old ones stay in force for a while."""
        old = self.policy(owner)
        late = self._faults.hit("iam_delay", owner)
        new: dict[str, Any] = {"version": version, "etag": fresh_fingerprint(), "bindings": bindings}
        if late:
            new.update(before=old["bindings"], in_force_at=self._clock.now() + late["delay_s"])
        self._store.put(POLICIES + owner, new)
        return new

    def forget_policy(self, owner: str) -> None:
        self._store.delete(POLICIES + owner)
