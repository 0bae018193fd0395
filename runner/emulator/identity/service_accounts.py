"""Service accounts of the project, and their policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.emulator.http import Call, Rule
from runner.emulator.iam import ACCOUNTS, Access, check_permissions
from runner.emulator.identity.condition_rules import requested_version
from runner.emulator.identity.policies import policy_document, replace_policy
from runner.emulator.state import CloudSettings, Document, Store
from runner.emulator.wire import api_errors, request_fields, sized_page
from runner.errors import CloudError

_ACCOUNTS = "/iam/v1/projects/{project}/serviceAccounts"
_ACCOUNT_ID = re.compile(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])")


def put_default_account(store: Store, settings: CloudSettings) -> None:
    """Create the default Compute account, which exists as soon as the API is enabled."""
    email = settings.default_account
    if store.get(ACCOUNTS + email) is None:
        store.put(ACCOUNTS + email, _account(store, settings, email, {"displayName": "Compute Engine default"}))


def _account(store: Store, settings: CloudSettings, email: str, sent: Mapping[str, Any]) -> Document:
    return {
        "name": f"projects/{settings.project}/serviceAccounts/{email}",
        "projectId": settings.project,
        "uniqueId": "1" + store.next_id() + "0",
        "email": email,
        "etag": "MDEwMjE5MjA=",
        **{key: sent[key] for key in ("displayName", "description") if sent.get(key)},
        "oauth2ClientId": store.next_id(),
    }


class ServiceAccounts:
    """``projects/p/serviceAccounts``."""

    def __init__(self, store: Store, access: Access, settings: CloudSettings) -> None:
        self._store = store
        self._access = access
        self._settings = settings

    def rules(self) -> list[Rule]:
        one = _ACCOUNTS + "/{email}"
        reads, writes = "iam.serviceAccounts.get", "iam.serviceAccounts.update"
        fields = request_fields
        return [
            Rule(method="GET", path=_ACCOUNTS, act=self.list_all, permission="iam.serviceAccounts.list"),
            Rule(
                method="POST",
                path=_ACCOUNTS,
                act=self.create,
                permission="iam.serviceAccounts.create",
                fields=fields.CREATE_SERVICE_ACCOUNT,
            ),
            Rule(method="POST", path=one + ":getIamPolicy", act=self.get_policy, permission=f"{reads}IamPolicy"),
            Rule(
                method="POST",
                path=one + ":setIamPolicy",
                act=self.set_policy,
                permission="iam.serviceAccounts.setIamPolicy",
                fields=fields.SET_POLICY,
            ),
            Rule(method="POST", path=one + ":testIamPermissions", act=self.test_permissions),
            Rule(method="POST", path=one + ":enable", act=self.switch, permission="iam.serviceAccounts.enable"),
            Rule(method="POST", path=one + ":disable", act=self.switch, permission="iam.serviceAccounts.disable"),
            Rule(method="GET", path=one, act=self.get, permission=reads),
            Rule(method="PATCH", path=one, act=self.patch, permission=writes, fields=fields.PATCH_SERVICE_ACCOUNT),
            Rule(method="DELETE", path=one, act=self.delete, permission="iam.serviceAccounts.delete"),
        ]

    def create(self, call: Call) -> Document:
        account_id = str(call.body.get("accountId") or "")
        if _ACCOUNT_ID.fullmatch(account_id) is None:
            raise CloudError(
                f'The account ID "{account_id}" does not have a length between 6 and 30, or has characters that are not '
                "allowed.",
                reason="badRequest",
                status=400,
            )
        email = f"{account_id}@{call.project}.iam.gserviceaccount.com"
        if self._store.get(ACCOUNTS + email) is not None:
            raise api_errors.conflict(
                f"Service account {account_id} already exists within project projects/{call.project}."
            )
        account = _account(self._store, self._settings, email, call.body.get("serviceAccount") or {})
        self._store.put(ACCOUNTS + email, account)
        return account

    def list_all(self, call: Call) -> Document:
        page, more = sized_page(self._store.items(ACCOUNTS), call.query, default=20, most=100)
        return {"accounts": page, **more}

    def _find(self, call: Call) -> Document:
        wanted = call.params["email"]
        account = self._store.get(ACCOUNTS + wanted)
        if account is None:
            by_id = [found for _, found in self._store.items(ACCOUNTS) if found["uniqueId"] == wanted]
            account = by_id[0] if by_id else None
        if account is None:
            raise api_errors.missing(f"Unknown service account: projects/{call.project}/serviceAccounts/{wanted}")
        return account

    def get(self, call: Call) -> Document:
        return self._find(call)

    def patch(self, call: Call) -> Document:
        account = self._find(call)
        sent = call.body.get("serviceAccount") or {}
        account.update({key: sent[key] for key in ("displayName", "description") if key in sent})
        self._store.put(ACCOUNTS + account["email"], account)
        return account

    def switch(self, call: Call) -> Document:
        account = self._find(call)
        account["disabled"] = call.path.endswith(":disable")
        self._store.put(ACCOUNTS + account["email"], account)
        return {}

    def delete(self, call: Call) -> Document:
        account = self._find(call)
        self._store.delete(ACCOUNTS + account["email"])
        self._access.forget_policy(account["name"])
        return {}

    def get_policy(self, call: Call) -> Document:
        return policy_document(self._access, self._find(call)["name"], requested_version(call))

    def set_policy(self, call: Call) -> Document:
        return replace_policy(self._access, self._find(call)["name"], call.body.get("policy") or {})

    def test_permissions(self, call: Call) -> Document:
        name = self._find(call)["name"]
        wanted = call.body.get("permissions") or []
        check_permissions(wanted)
        return {"permissions": [one for one in wanted if self._access.allows(call.caller, one, name, owners=[name])]}
