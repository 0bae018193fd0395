"""Custom roles of the project, which are deleted softly, and Google's predefined roles."""

from __future__ import annotations

import re

from runner.emulator.http import Call, Rule
from runner.emulator.iam import ROLE_PERMISSIONS, ROLES, check_permissions, expand
from runner.emulator.state import Document, Store
from runner.emulator.wire import Entries, api_errors, fresh_fingerprint, request_fields, sized_page
from runner.errors import CloudError

_ROLES = "/iam/v1/projects/{project}/roles"
_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")


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
            message = f"You can't create a role_id ({role_id}) which has been marked for deletion."
            raise CloudError(message, reason="failedPrecondition", status=400)
        if known is not None:
            raise api_errors.conflict(f"A role named {role_id} in projects/{call.project} already exists.")
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
            raise api_errors.missing(f"The role named {name} was not found.")
        return predefined_role(name)

    def get(self, call: Call) -> Document:
        return self._find(call)

    def patch(self, call: Call) -> Document:
        role = self._find(call)
        if role.get("deleted"):
            raise api_errors.condition_not_met(f"The role named {role['name']} is deleted.")
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
            raise api_errors.missing(f"The role named {name} was not found.")
        return role

    def _put(self, role: Document) -> Document:
        role["etag"] = fresh_fingerprint()
        self._store.put(ROLES + role["name"], role)
        return role


def _roles_page(entries: Entries, call: Call) -> Document:
    """Build a page of roles, without their permissions unless ``view=FULL``."""
    page, more = sized_page(entries, call.query, default=300, most=1000)
    if call.query.get("view") != "FULL":
        page = [{key: value for key, value in role.items() if key != "includedPermissions"} for role in page]
    return {"roles": page, **more}


def predefined_role(name: str) -> Document:
    """Build the document of a predefined role, with its permissions on resources that this cloud has."""
    return {
        "name": name,
        "title": name.removeprefix("roles/"),
        "includedPermissions": expand(ROLE_PERMISSIONS[name]),
        "stage": "GA",
        "etag": "AA==",
    }
