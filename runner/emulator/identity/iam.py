"""IAM: service accounts, custom roles (deleted softly), and the policies of the project and of service accounts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.emulator.http import Call, Rule
from runner.emulator.iam import ACCOUNTS, ROLE_PERMISSIONS, ROLES, Access, check_permissions, expand
from runner.emulator.identity.condition_rules import VERSION, check_conditions, hide_conditions, requested_version
from runner.emulator.state import CloudSettings, Document, Store
from runner.emulator.wire import Entries, fresh_fingerprint, refusals, request_fields, sized_page
from runner.errors import CloudError

_ACCOUNTS = "/iam/v1/projects/{project}/serviceAccounts"
_ROLES = "/iam/v1/projects/{project}/roles"
_PROJECT = "/cloudresourcemanager/v1/projects/{project}"
_ACCOUNT_ID = re.compile(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])")
_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(?:user|serviceAccount|group|domain|principal|principalSet|deleted|projectOwner"
    r"|projectEditor|projectViewer):\S+"
)


def default_account_email(settings: CloudSettings) -> str:
    return f"{settings.project_number}-compute@developer.gserviceaccount.com"


def put_default_account(store: Store, settings: CloudSettings) -> None:
    """The default Compute account, which is there as soon as the API is on."""
    email = default_account_email(settings)
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
            raise refusals.conflict(
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
            raise refusals.missing(f"Unknown service account: projects/{call.project}/serviceAccounts/{wanted}")
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


class CustomRoles:
    """``projects/p/roles``. A deleted role keeps its name until it is undeleted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def rules(self) -> list[Rule]:
        one = _ROLES + "/{role}"
        fields = request_fields
        return [
            Rule(method="GET", path="/iam/v1/roles", act=self.list_predefined),
            Rule(method="GET", path="/iam/v1/roles/{role}", act=self.get_predefined),
            Rule(method="GET", path=_ROLES, act=self.list_all, permission="iam.roles.list"),
            Rule(method="POST", path=_ROLES, act=self.create, permission="iam.roles.create", fields=fields.CREATE_ROLE),
            Rule(method="POST", path=one + ":undelete", act=self.undelete, permission="iam.roles.undelete"),
            Rule(method="GET", path=one, act=self.get, permission="iam.roles.get"),
            Rule(method="PATCH", path=one, act=self.patch, permission="iam.roles.update", fields=fields.ROLE),
            Rule(method="DELETE", path=one, act=self.delete, permission="iam.roles.delete"),
        ]

    def create(self, call: Call) -> Document:
        role_id = str(call.body.get("roleId") or "")
        if _ROLE_ID.fullmatch(role_id) is None:
            raise CloudError(f'The role ID "{role_id}" must match {_ROLE_ID.pattern}.', reason="badRequest", status=400)
        name = f"projects/{call.project}/roles/{role_id}"
        known = self._store.get(ROLES + name)
        if known is not None and known.get("deleted"):
            told = f"You can't create a role_id ({role_id}) which has been marked for deletion."
            raise CloudError(told, reason="failedPrecondition", status=400)
        if known is not None:
            raise refusals.conflict(f"A role named {role_id} in projects/{call.project} already exists.")
        role = call.body.get("role") or {}
        check_permissions(role.get("includedPermissions") or ())
        return self._put({"name": name, **role})

    def list_all(self, call: Call) -> Document:
        is_shown = call.query.get("showDeleted") == "true"
        found = [entry for entry in self._store.items(ROLES) if is_shown or not entry[1].get("deleted")]
        return _roles_page(found, call)

    def list_predefined(self, call: Call) -> Document:
        return _roles_page([(name, predefined_role(name)) for name in sorted(ROLE_PERMISSIONS)], call)

    def get_predefined(self, call: Call) -> Document:
        name = f"roles/{call.params['role']}"
        if name not in ROLE_PERMISSIONS:
            raise refusals.missing(f"The role named {name} was not found.")
        return predefined_role(name)

    def get(self, call: Call) -> Document:
        return self._find(call)

    def patch(self, call: Call) -> Document:
        role = self._find(call)
        if role.get("deleted"):
            raise refusals.condition_not_met(f"The role named {role['name']} is deleted.")
        check_permissions(call.body.get("includedPermissions") or ())
        return self._put({**role, **{key: value for key, value in call.body.items() if key not in ("name", "etag")}})

    def delete(self, call: Call) -> Document:
        return self._put({**self._find(call), "deleted": True})

    def undelete(self, call: Call) -> Document:
        role = self._find(call)
        role.pop("deleted", None)
        return self._put(role)

    def _find(self, call: Call) -> Document:
        name = f"projects/{call.project}/roles/{call.params['role']}"
        role = self._store.get(ROLES + name)
        if role is None:
            raise refusals.missing(f"The role named {name} was not found.")
        return role

    def _put(self, role: Document) -> Document:
        role["etag"] = fresh_fingerprint()
        self._store.put(ROLES + role["name"], role)
        return role


class ProjectPolicy:
    """The project in Resource Manager: its policy and what it is."""

    def __init__(self, access: Access, settings: CloudSettings) -> None:
        self._access = access
        self._settings = settings

    def rules(self) -> list[Rule]:
        policy = "resourcemanager.projects.{}IamPolicy"
        return [
            Rule(method="POST", path=_PROJECT + ":getIamPolicy", act=self.get_policy, permission=policy.format("get")),
            Rule(
                method="POST",
                path=_PROJECT + ":setIamPolicy",
                act=self.set_policy,
                permission=policy.format("set"),
                fields=request_fields.SET_POLICY,
            ),
            Rule(method="POST", path=_PROJECT + ":testIamPermissions", act=self.test_permissions),
            Rule(method="GET", path=_PROJECT, act=self.get, permission="resourcemanager.projects.get"),
            Rule(
                method="GET",
                path="/cloudbilling/v1/projects/{project}/billingInfo",
                act=self.get_billing,
                permission="resourcemanager.projects.get",
            ),
        ]

    def _name(self) -> str:
        return f"projects/{self._settings.project}"

    def get_policy(self, call: Call) -> Document:
        return policy_document(self._access, self._name(), requested_version(call))

    def set_policy(self, call: Call) -> Document:
        return replace_policy(self._access, self._name(), call.body.get("policy") or {})

    def test_permissions(self, call: Call) -> Document:
        wanted = call.body.get("permissions") or []
        check_permissions(wanted)
        return {"permissions": [one for one in wanted if self._access.allows(call.caller, one, self._name())]}

    def get(self, call: Call) -> Document:
        return {
            "projectNumber": self._settings.project_number,
            "projectId": self._settings.project,
            "lifecycleState": "ACTIVE",
            "name": self._settings.project,
            "createTime": "2026-01-01T00:00:00.000Z",
            "labels": {},
            "parent": {"type": "organization", "id": "1"},
        }

    def get_billing(self, call: Call) -> Document:
        return {
            "name": f"projects/{self._settings.project}/billingInfo",
            "projectId": self._settings.project,
            "billingAccountName": "billingAccounts/000000-000000-000000",
            "billingEnabled": True,
        }


def _roles_page(entries: Entries, call: Call) -> Document:
    """Without the permissions, unless ``view=FULL``."""
    page, more = sized_page(entries, call.query, default=300, most=1000)
    if call.query.get("view") != "FULL":
        page = [{key: value for key, value in role.items() if key != "includedPermissions"} for role in page]
    return {"roles": page, **more}


def predefined_role(name: str) -> Document:
    """A role of Google's, with what it permits of what this cloud has."""
    return {
        "name": name,
        "title": name.removeprefix("roles/"),
        "includedPermissions": expand(ROLE_PERMISSIONS[name]),
        "stage": "GA",
        "etag": "AA==",
    }


def policy_document(access: Access, owner: str, version: int = VERSION) -> Document:
    """A policy as answers show it to callers that know policies of this version: without an empty list of bindings."""
    policy = access.policy(owner)
    shown = {
        "version": min(policy["version"], version),
        "etag": policy["etag"],
        "bindings": hide_conditions(policy["bindings"], version),
    }
    return {key: value for key, value in shown.items() if value != []}


def replace_policy(access: Access, owner: str, policy: Document, *, stale: CloudError | None = None) -> Document:
    """Set a policy that was read before.

    Raises:
        CloudError: 409 (or ``stale``) if it changed meanwhile; 400 for a role, member or condition that cannot be.
    """
    if policy.get("etag") not in (None, "", access.policy(owner)["etag"]):
        raise stale or refusals.conflict(
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
    """People are users and service accounts are service accounts: a policy that mixes them up is refused."""
    told, _, email = member.partition(":")
    kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
    if told in ("user", "serviceAccount") and told != kind:
        raise CloudError(
            f'Principal {email} is of type "{kind}". The principal should appear as "{kind}:{email}". See '
            "https://cloud.google.com/iam/help/members/types for additional documentation.",
            reason="badRequest",
            status=400,
        )
