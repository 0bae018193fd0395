"""IAM policies of any resource: how they are shown, checked and replaced."""

from __future__ import annotations

import re

from runner.emulator.iam import Access
from runner.emulator.identity.condition_rules import VERSION, check_conditions, hide_conditions
from runner.emulator.state import Document
from runner.emulator.wire import api_errors
from runner.errors import CloudError

_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(?:user|serviceAccount|group|domain|principal|principalSet|deleted|projectOwner"
    r"|projectEditor|projectViewer):\S+"
)


def policy_document(access: Access, owner: str, version: int = VERSION) -> Document:
    """Return a policy as responses show it to callers of this version, without an empty list of bindings."""
    policy = access.policy(owner)
    shown = {
        "version": min(policy["version"], version),
        "etag": policy["etag"],
        "bindings": hide_conditions(policy["bindings"], version),
    }
    return {key: value for key, value in shown.items() if value != []}


def replace_policy(access: Access, owner: str, policy: Document, *, stale: CloudError | None = None) -> Document:
    """Replace a policy that the caller has read before.

    Raises:
        CloudError: 409 (or ``stale``), it has changed since; 400, a role, member or condition is invalid.
    """
    if policy.get("etag") not in (None, "", access.policy(owner)["etag"]):
        raise stale or api_errors.conflict(
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
            reason="aborted",
        )
    bindings = [_checked_binding(access, binding) for binding in policy.get("bindings") or ()]
    check_conditions(bindings, int(policy.get("version") or 1))
    has_conditions = any("condition" in binding for binding in bindings)
    access.set_policy(owner, [binding for binding in bindings if binding["members"]], 3 if has_conditions else 1)
    return policy_document(access, owner)


def _checked_binding(access: Access, binding: Document) -> Document:
    role = str(binding.get("role") or "")
    if not access.role_exists(role):
        raise CloudError(f"Role {role} is not supported for this resource.", reason="badRequest", status=400)
    for member in binding.get("members") or ():
        if _MEMBER.fullmatch(member) is None:
            raise CloudError(f"Invalid member: {member}", reason="badRequest", status=400)
        _check_kind(member)
    kept = {key: binding[key] for key in ("role", "members", "condition") if binding.get(key)}
    return {"members": [], **kept}


def _check_kind(member: str) -> None:
    """Reject a member whose prefix does not match its email address: a user as service account, or the reverse."""
    prefix, _, email = member.partition(":")
    kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
    if prefix in ("user", "serviceAccount") and prefix != kind:
        raise CloudError(
            f'Principal {email} is of type "{kind}". The principal should appear as "{kind}:{email}". See '
            "https://cloud.google.com/iam/help/members/types for additional documentation.",
            reason="badRequest",
            status=400,
        )
