"""One member of one role in a policy: of a project, a service account, a bucket. Written by read, modify, write."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.emulator.provider.links import same_name
from runner.emulator.provider.resource import Cloud, Operations, ProviderError, ResourceType
from runner.emulator.provider.rest import Answer, ApiError
from runner.emulator.provider.schema import Field, block, location, outputs, project, table, text
from runner.emulator.provider.values import Properties

_MEMBER = re.compile(r"(allUsers|allAuthenticatedUsers|[A-Za-z0-9_]+:.+)")
_CONFLICTS, _NOT_FOUND = (409, 412), 404
_ATTEMPTS, _PAUSE_S = 20, 0.1


@dataclass(frozen=True, kw_only=True)
class PolicyOwner:
    """The kind of resource that has the policy. ``key``: the property that names it; ``get`` and ``put`` receive its name.

    ``noun``: its name in error texts. ``location``: properties for its location, from which ``locate`` builds the name; none if ``key`` is enough.
    """

    key: str
    normalize: Callable[[Cloud, str], str]
    get: Callable[[Cloud, str], Answer]
    put: Callable[[Cloud, str, Answer], None]
    noun: str
    location: tuple[str, ...] = ()
    locate: Callable[[Cloud, Properties], str] | None = None

    def name(self, cloud: Cloud, given: Properties) -> str:
        """Return the name under which the policy is requested."""
        return self.normalize(cloud, given[self.key]) if self.locate is None else self.locate(cloud, given)


class MemberOperations(Operations):
    """An IAM member of ``owner``. ID: ``OWNER/ROLE/MEMBER``; for an import ``OWNER ROLE MEMBER``."""

    def __init__(self, owner: PolicyOwner) -> None:
        self.owner = owner

    def problems(self, news: Properties) -> list[str]:
        member = news.get("member")
        if isinstance(member, str) and not _MEMBER.fullmatch(member):
            return [
                f'invalid value for member ("{member}"): IAM members must be like user:NAME, serviceAccount:NAME, '
                "group:NAME, domain:NAME, allUsers or allAuthenticatedUsers"
            ]
        return []

    def create(self, cloud: Cloud, news: Properties) -> str:
        owner = self.owner.name(cloud, news)
        role, member, condition = news["role"], news["member"], news.get("condition")

        def add(policy: Answer) -> Answer:
            bindings = _without(policy, role, member, condition)
            mine = next((found for found in bindings if _is_binding(found, role, condition)), None)
            if mine is None:
                mine = {"role": role, "members": []} | ({"condition": condition} if condition else {})
                bindings.append(mine)
            mine["members"] = sorted([*mine["members"], member])
            return {"bindings": _ordered(bindings), "etag": policy.get("etag"), "version": 3}

        self._rewrite(cloud, owner, add)
        return f"{owner}/{role}/{member}"

    def _rewrite(self, cloud: Cloud, owner: str, change: Callable[[Answer], Answer]) -> None:
        with cloud.locks.hold(owner):
            for attempt in range(_ATTEMPTS):
                doing = "retrieving"
                try:
                    policy = self.owner.get(cloud, owner)
                    doing = "setting"
                    return self.owner.put(cloud, owner, change(policy))
                except ApiError as error:
                    if error.status not in _CONFLICTS or attempt == _ATTEMPTS - 1:
                        message = f'Error {doing} IAM policy for {self.owner.noun} "{owner}": {error}'
                        raise ProviderError(message) from error
                    time.sleep(_PAUSE_S)

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        named = self._named(cloud, id, prior)
        owner = self.owner.name(cloud, named)
        role, member, condition = (named.get(key) for key in ("role", "member", "condition"))
        try:
            policy = self.owner.get(cloud, owner)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        for binding in policy.get("bindings", []):
            if _is_binding(binding, str(role), condition) and member in binding.get("members", []):
                return {"id": f"{owner}/{role}/{member}", "etag": policy.get("etag"), **named}
        return None

    def _named(self, cloud: Cloud, id: str, prior: Properties) -> Properties:
        if not prior.get("member"):
            owner, role, member = id.split(" ", 2)
            prior = {self.owner.key: owner, "role": role, "member": member}
        known = (self.owner.key, *self.owner.location, "role", "member", "condition")
        named = {key: prior[key] for key in known if key in prior}
        return self._placed(cloud, named)

    def _placed(self, cloud: Cloud, named: Properties) -> Properties:
        """Return the properties that name the owner, in the cloud's form."""
        if self.owner.locate is None:
            return named | {self.owner.key: self.owner.normalize(cloud, named[self.owner.key])}
        *_, name = path = self.owner.locate(cloud, named).split("/")
        return named | {self.owner.key: name} | {key: path[path.index(f"{key}s") + 1] for key in self.owner.location}

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        named = self._named(cloud, id, state)

        def remove(policy: Answer) -> Answer:
            bindings = _without(policy, named["role"], named["member"], named.get("condition"))
            left = _ordered([binding for binding in bindings if binding["members"]])
            kept = {"bindings": left} if left else {}
            return kept | {"etag": policy.get("etag"), "version": policy.get("version", 1)}

        try:
            self._rewrite(cloud, self.owner.name(cloud, named), remove)
        except ProviderError as error:
            if not (isinstance(error.__cause__, ApiError) and error.__cause__.status == _NOT_FOUND):
                raise


def _is_binding(binding: Answer, role: str, condition: Mapping[str, str] | None) -> bool:
    return binding.get("role") == role and (binding.get("condition") or None) == (condition or None)


def _without(policy: Answer, role: str, member: str, condition: Mapping[str, str] | None) -> list[Answer]:
    """Return copies of a policy's bindings in which ``member`` no longer has the role."""
    bindings = [{**binding, "members": list(binding.get("members", []))} for binding in policy.get("bindings", [])]
    for binding in bindings:
        if _is_binding(binding, role, condition):
            binding["members"] = [found for found in binding["members"] if found != member]
    return bindings


def _ordered(bindings: list[Answer]) -> list[Answer]:
    return sorted(({**binding, "members": sorted(binding["members"])} for binding in bindings), key=lambda b: b["role"])


def _member_type(token: str, owner: PolicyOwner, named: Field, *more: Mapping[str, Field]) -> ResourceType:
    condition = {"title": text(required=True), "expression": text(required=True), "description": text()}
    return ResourceType(
        token=token,
        operations=MemberOperations(owner),
        fields=table(
            {
                owner.key: named,
                "role": text(required=True, replace=True),
                "member": text(required=True, replace=True),
                "condition": block(condition, replace=True),
            },
            *more,
            outputs("etag"),
        ),
    )


def _bucket(cloud: Cloud, said: str) -> str:
    return said if said.startswith("b/") else f"b/{said}"


def _same_bucket(old: str, new: str) -> bool:
    return old.removeprefix("b/") == new.removeprefix("b/")


def _put_bucket_policy(cloud: Cloud, bucket: str, policy: Answer) -> None:
    """Write a bucket's policy; an empty one has no etag, as with the stock plugin."""
    body = policy if policy.get("bindings") else {"version": policy["version"]}
    cloud.rest.call("PUT", f"storage/v1/{bucket}/iam", body)


BUCKET_IAM_MEMBER = _member_type(
    "gcp:storage/bucketIAMMember:BucketIAMMember",
    PolicyOwner(
        key="bucket",
        noun="storage bucket",
        normalize=_bucket,
        get=lambda cloud, name: cloud.rest.get(f"storage/v1/{name}/iam", optionsRequestedPolicyVersion="3"),
        put=_put_bucket_policy,
    ),
    text(required=True, replace=True, same=_same_bucket),
)


def _project(cloud: Cloud, said: str) -> str:
    return said.removeprefix("projects/")


def _same_project(old: str, new: str) -> bool:
    return old.removeprefix("projects/") == new.removeprefix("projects/")


def _put_project_policy(cloud: Cloud, project: str, policy: Answer) -> None:
    body = {"policy": policy, "updateMask": "bindings,etag,auditConfigs"}
    cloud.rest.post(f"cloudresourcemanager/v1/projects/{project}:setIamPolicy", body)


PROJECT_IAM_MEMBER = _member_type(
    "gcp:projects/iAMMember:IAMMember",
    PolicyOwner(
        key="project",
        noun="project",
        normalize=_project,
        get=lambda cloud, name: cloud.rest.post(
            f"cloudresourcemanager/v1/projects/{name}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}}
        ),
        put=_put_project_policy,
    ),
    text(required=True, replace=True, same=_same_project),
)


def _account(cloud: Cloud, said: str) -> str:
    return said if "/" in said else f"projects/{cloud.settings.project}/serviceAccounts/{said}"


def _put_account_policy(cloud: Cloud, account: str, policy: Answer) -> None:
    cloud.rest.post(f"iam/v1/{account}:setIamPolicy", {"policy": policy})


ACCOUNT_IAM_MEMBER = _member_type(
    "gcp:serviceaccount/iAMMember:IAMMember",
    PolicyOwner(
        key="serviceAccountId",
        noun="service account",
        normalize=_account,
        get=lambda cloud, name: cloud.rest.call(
            "POST", f"iam/v1/{name}:getIamPolicy", query={"options.requestedPolicyVersion": "3"}
        ),
        put=_put_account_policy,
    ),
    text(required=True, replace=True),
)


def _instance(cloud: Cloud, given: Properties) -> str:
    """Return an instance by its name or link, in the given zone or the provider's own."""
    said = str(given["instanceName"])
    if "/" in said:
        return said[said.index("projects/") :]
    return f"projects/{cloud.location_of(given, 'project')}/zones/{cloud.location_of(given, 'zone')}/instances/{said}"


def _put_instance_policy(cloud: Cloud, instance: str, policy: Answer) -> None:
    cloud.rest.post(f"compute/v1/{instance}/setIamPolicy", {"policy": policy})


INSTANCE_IAM_MEMBER = _member_type(
    "gcp:compute/instanceIAMMember:InstanceIAMMember",
    PolicyOwner(
        key="instanceName",
        noun="compute instance",
        normalize=lambda cloud, said: said,
        get=lambda cloud, name: cloud.rest.get(f"compute/v1/{name}/getIamPolicy", optionsRequestedPolicyVersion="3"),
        put=_put_instance_policy,
        location=("project", "zone"),
        locate=_instance,
    ),
    text(required=True, replace=True, same=same_name),
    project(),
    location("zone"),
)
