"""The project in Resource Manager and Cloud Billing: its policy and its document."""

from __future__ import annotations

from runner.emulator.http import Call, Rule
from runner.emulator.iam import Access, check_permissions
from runner.emulator.identity.condition_rules import requested_version
from runner.emulator.identity.policies import policy_document, replace_policy
from runner.emulator.state import CloudSettings, Document
from runner.emulator.wire import request_fields

_PROJECT = "/cloudresourcemanager/v1/projects/{project}"


class ProjectPolicy:
    """``projects/p`` of Resource Manager and Cloud Billing."""

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
