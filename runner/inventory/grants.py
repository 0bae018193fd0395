"""The part of the inventory in the project's IAM policy: the grant that lets VMs delete themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.errors import ConflictError, PermissionDeniedError
from runner.google import GONE_ALREADY, Api, Json, segment
from runner.model import names
from runner.model.leftover import BASE_PART, Item, Kind
from runner.system.backoff import Backoff

CONFLICTS_LIMIT_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 0.2, 4.0
POLICY_VERSION = (
    3  # with conditions; read as an older version, a policy has none, and would be written back without them
)


class OurGrant:
    """The binding of the self-delete role in the project's policy, recognized by the title of its condition: a part of the base.

    A user who may not read the policy sees none. It costs nothing, and grants nothing once the role or the account is gone.
    """

    kinds = (Kind.GRANT,)

    def __init__(self, api: Api, project: str, owner_of_base: Callable[[], str]) -> None:
        self._api = api
        self._path = f"projects/{segment(project)}"
        self._owner_of_base = owner_of_base

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the grants, one for each role."""
        try:
            roles = sorted({str(binding["role"]) for binding in self._read().get("bindings", []) if _is_ours(binding)})
        except PermissionDeniedError:
            return []
        marks = {"app": names.APP, "owner": self._owner_of_base(), "part": BASE_PART} if roles else {}
        return [Item(kind=kind, name=role.rsplit("/", 1)[-1], labels=marks) for role in roles]

    def remove(self, item: Item) -> str:
        """Remove it from the policy; again if the policy was changed in the meantime."""
        backoff = Backoff(budget_s=CONFLICTS_LIMIT_S, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)
        while True:
            try:
                return self._remove(item)
            except ConflictError:
                if not backoff.pause():
                    raise

    def _remove(self, item: Item) -> str:
        policy = self._read()
        bindings = policy.get("bindings", [])
        kept = [one for one in bindings if not (_is_ours(one) and str(one["role"]).endswith(f"/{item.name}"))]
        if len(kept) == len(bindings):
            return GONE_ALREADY
        fresh = {**policy, "bindings": kept, "version": POLICY_VERSION}
        self._api.post(f"{self._path}:setIamPolicy", {"policy": fresh}, is_idempotent=True)
        return "removed from the project's policy"

    def _read(self) -> Json:
        wanted = {"options": {"requestedPolicyVersion": POLICY_VERSION}}
        return self._api.post(f"{self._path}:getIamPolicy", wanted, is_idempotent=True)


def _is_ours(binding: Mapping[str, Any]) -> bool:
    """Compare the title, not the members: a deleted account has another name in a policy."""
    return bool((binding.get("condition") or {}).get("title") == names.SELF_DELETE_ROLE_TITLE)
