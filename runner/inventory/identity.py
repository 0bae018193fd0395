"""The parts of the inventory that are identities: our keys in the operator's OS Login profile, service accounts, the role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runner.errors import NotFoundError
from runner.google import GONE_ALREADY, KEY_COMMENT, Api, segment
from runner.model import names
from runner.model.leftover import BASE_PART, Item, Kind, read_labels


class OurKeys:
    """The keys with our comment in the operator's profile; the operator owns them all. A key without an expiry never expires."""

    kinds = (Kind.SSH_KEY,)

    def __init__(self, api: Api, *, operator: str, owner: str) -> None:
        self._api = api
        self._profile = f"users/{segment(operator)}"
        self._operator = operator
        self._owner = owner

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List our keys."""
        try:
            keys = self._api.get(f"{self._profile}/loginProfile").get("sshPublicKeys", {})
        except NotFoundError:
            return []
        return [self._item(fingerprint, key) for fingerprint, key in keys.items() if _is_ours(key)]

    def remove(self, item: Item) -> str:
        """Delete a key from the profile."""
        try:
            self._api.delete(f"{self._profile}/sshPublicKeys/{segment(item.name)}")
        except NotFoundError:
            return GONE_ALREADY
        return "deleted"

    def _item(self, fingerprint: str, key: Mapping[str, Any]) -> Item:
        marks = {"app": names.APP, "owner": self._owner}
        if expiry_usec := int(key.get("expirationTimeUsec") or 0):
            marks["expires"] = names.expires_label(datetime.fromtimestamp(expiry_usec / 1e6, UTC))
        return Item(kind=Kind.SSH_KEY, name=fingerprint, location=self._operator, labels=marks)


class OurAccounts:
    """The service account of our VMs, which belongs to the base, and those with our labels in their description."""

    kinds = (Kind.ACCOUNT,)

    def __init__(self, api: Api, project: str, owner_of_base: Callable[[], str]) -> None:
        self._api = api
        self._project = project
        self._path = f"projects/{segment(project)}/serviceAccounts"
        self._owner_of_base = owner_of_base

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List our accounts."""
        accounts = (one for page in self._api.pages(self._path) for one in page.get("accounts", []))
        items = (self._item(account) for account in accounts)
        return [item for item in items if item is not None]

    def remove(self, item: Item) -> str:
        """Delete an account."""
        try:
            self._api.delete(f"{self._path}/{segment(item.name)}")
        except NotFoundError:
            return GONE_ALREADY
        return "deleted"

    def _item(self, account: Mapping[str, Any]) -> Item | None:
        email = str(account["email"])
        marks = read_labels(str(account.get("description", "")))
        if email == names.service_account_email(self._project):
            marks = {"app": names.APP, "owner": self._owner_of_base(), "part": BASE_PART}
        is_ours = marks.get("app") == names.APP
        uid = str(account.get("uniqueId", ""))
        return Item(kind=Kind.ACCOUNT, name=email, labels=marks, uid=uid) if is_ours else None


class OurRole:
    """The custom role that lets VMs delete themselves, whatever its ID: a part of the base.

    A deleted role is not listed any more. For a week it can be undeleted, which Pulumi's provider does; for a month after that its
    ID can neither be undeleted nor created again.
    """

    kinds = (Kind.ROLE,)

    def __init__(self, api: Api, project: str, owner_of_base: Callable[[], str]) -> None:
        self._api = api
        self._path = f"projects/{segment(project)}/roles"
        self._owner_of_base = owner_of_base

    def list_items(self, kind: Kind, labels: Mapping[str, str]) -> Sequence[Item]:
        """List the role, if it exists."""
        roles = (role for page in self._api.pages(self._path) for role in page.get("roles", []))
        ours = [role for role in roles if _is_our_role(role)]
        marks = {"app": names.APP, "owner": self._owner_of_base(), "part": BASE_PART} if ours else {}
        return [Item(kind=kind, name=str(role["name"]).rsplit("/", 1)[-1], labels=marks) for role in ours]

    def remove(self, item: Item) -> str:
        """Delete the role."""
        try:
            self._api.delete(f"{self._path}/{segment(item.name)}")
        except NotFoundError:
            return GONE_ALREADY
        return "deleted"


def _is_our_role(role: Mapping[str, Any]) -> bool:
    """Compare its usual ID, or its title, as settings may give it another ID."""
    is_usual = str(role["name"]).endswith(f"/{names.SELF_DELETE_ROLE_ID}")
    return (is_usual or role.get("title") == names.SELF_DELETE_ROLE_TITLE) and not role.get("deleted")


def _is_ours(key: Mapping[str, Any]) -> bool:
    """Return whether the comment, after type and key, is ours."""
    words = str(key.get("key", "")).split(maxsplit=2)
    return len(words) == 3 and words[2].strip() == KEY_COMMENT
