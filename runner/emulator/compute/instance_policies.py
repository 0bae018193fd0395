"""The IAM policies of single instances, which count in addition to the project's policy."""

from __future__ import annotations

from runner.emulator.compute.resources import ZONE, Parts
from runner.emulator.http import Call, Rule
from runner.emulator.identity import policy_document, replace_policy, requested_version
from runner.emulator.state import Document
from runner.emulator.wire import api_errors, request_fields

#: The resource whose policy counts for a call to an instance, in addition to the project's.
POLICY_OWNER = "projects/{project}/zones/{zone}/instances/{name}"


class InstancePolicies:
    """``getIamPolicy``, ``setIamPolicy`` and ``testIamPermissions`` of ``zones/z/instances/n``."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._access = parts.access

    def rules(self) -> list[Rule]:
        one = f"{ZONE}/instances/{{name}}"
        return [
            Rule(
                method="GET",
                path=f"{one}/getIamPolicy",
                act=self.get,
                permission="compute.instances.getIamPolicy",
                owners=(POLICY_OWNER,),
            ),
            Rule(
                method="POST",
                path=f"{one}/setIamPolicy",
                act=self.set,
                permission="compute.instances.setIamPolicy",
                fields=request_fields.SET_POLICY,
                owners=(POLICY_OWNER,),
            ),
            Rule(method="POST", path=f"{one}/testIamPermissions", act=self.test, fields={"permissions": [str]}),
        ]

    def get(self, call: Call) -> Document:
        return policy_document(self._access, self._find(call), requested_version(call))

    def set(self, call: Call) -> Document:
        return replace_policy(self._access, self._find(call), call.body.get("policy") or {})

    def test(self, call: Call) -> Document:
        key = self._find(call)
        wanted = call.body.get("permissions") or []
        return {"permissions": [one for one in wanted if self._access.allows(call.caller, one, key, owners=[key])]}

    def _find(self, call: Call) -> str:
        if self._store.get(call.resource) is None:
            raise api_errors.not_found(call.resource)
        return call.resource
