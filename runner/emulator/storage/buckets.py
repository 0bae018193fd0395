"""Buckets: their documents and policies. Objects are kept by the object store, which has a bucket of each name."""

from __future__ import annotations

import base64
import re
from typing import Any

from runner.emulator.http import Answer, Call, Rule
from runner.emulator.iam import Access, check_permissions
from runner.emulator.identity import VERSION, policy_document, replace_policy, requested_version
from runner.emulator.state import Clock, CloudSettings, Document, Store
from runner.emulator.storage.object_store import ObjectStore
from runner.emulator.wire import (
    api_errors,
    check_bucket_name,
    check_choice,
    check_labels,
    read_int,
    request_fields,
    without_blanks,
    zulu_time,
)
from runner.errors import CloudError

BUCKETS = "buckets/"
POLICY_OWNER = "buckets/{bucket}"
#: Keys of what we store about objects ourselves, below the bucket's name.
CHANGED, DELETED = "objects/changed/", "objects/deleted/"
_B = "/storage/v1/b"
#: Google's own, those that look like it, IP addresses, and dots where no domain has any.
_FORBIDDEN_NAME = re.compile(r"^goog|g[o0]{2}gle|^\d+\.\d+\.\d+\.\d+$|\.-|-\.")
_STORAGE_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL")
_SOFT_DELETE_S = 604800


def no_bucket() -> CloudError:
    return api_errors.missing("The specified bucket does not exist.")


def storage_denied(email: str, permission: str, what: str) -> CloudError:
    """403 as Cloud Storage words it."""
    return api_errors.forbidden(
        f"{email} does not have {permission} access to {what}. Permission '{permission}' denied on resource (or it may "
        "not exist)."
    )


class Buckets:
    """``b``."""

    def __init__(
        self, store: Store, clock: Clock, access: Access, settings: CloudSettings, objects: ObjectStore
    ) -> None:
        self._store = store
        self._clock = clock
        self._access = access
        self._settings = settings
        self._objects = objects

    def rules(self) -> list[Rule]:
        one, fields = _B + "/{bucket}", request_fields.BUCKET
        return [
            Rule(method="GET", path=_B, act=self.list_all),
            Rule(method="POST", path=_B, act=self.insert, fields=fields),
            Rule(method="GET", path=one + "/iam", act=self.get_policy),
            Rule(method="PUT", path=one + "/iam", act=self.set_policy, fields=request_fields.POLICY),
            Rule(method="GET", path=one + "/iam/testPermissions", act=self.test_permissions),
            Rule(method="GET", path=one + "/anywhereCaches", act=self.list_caches),
            Rule(method="GET", path=one + "/anywhereCaches/", act=self.list_caches),
            Rule(method="GET", path=one + "/storageLayout", act=self.get_layout),
            Rule(method="GET", path=one, act=self.get),
            Rule(method="PATCH", path=one, act=self.patch, fields=fields),
            Rule(method="PUT", path=one, act=self.patch, fields=fields),
            Rule(method="DELETE", path=one, act=self.delete),
        ]

    def _find(self, call: Call, permission: str) -> Document:
        name = call.params["bucket"]
        bucket = self._store.get(BUCKETS + name)
        if bucket is None:
            raise no_bucket()
        self._require(call, permission, name)
        return bucket

    def _require(self, call: Call, permission: str, bucket: str = "") -> None:
        owners = [POLICY_OWNER.format(bucket=bucket)] if bucket else []
        what = "the Google Cloud Storage bucket" if bucket else "the Google Cloud project"
        if not self._access.allows(call.caller, permission, f"projects/_/buckets/{bucket}", owners=owners):
            raise storage_denied(call.caller.email, permission, what)

    def list_all(self, call: Call) -> Document:
        self._require(call, "storage.buckets.list")
        self._check_project(call)
        prefix = call.query.get("prefix", "")
        found = [bucket for key, bucket in self._store.items(BUCKETS + prefix)]
        return {"kind": "storage#buckets", **({"items": found} if found else {})}

    def _check_project(self, call: Call) -> None:
        project = call.query.get("project", "")
        if not project:
            raise api_errors.required("project")
        if project not in (self._settings.project, self._settings.project_number):
            raise CloudError(f"Unknown project id: {project}", reason="invalid", status=400)

    async def insert(self, call: Call) -> Document:
        self._require(call, "storage.buckets.create")
        self._check_project(call)
        name = check_bucket_name(str(call.body.get("name") or ""))
        if _FORBIDDEN_NAME.search(name):
            raise api_errors.invalid(f"Invalid bucket name: '{name}'")
        if self._store.get(BUCKETS + name) is not None:
            raise api_errors.conflict(
                "Your previous request to create the named bucket succeeded and you already own it.", reason="conflict"
            )
        _check_bucket(call.body)
        bucket = self._new_bucket(name, call.body)
        await self._objects.make_bucket(name)
        self._store.put(BUCKETS + name, bucket)
        return bucket

    def _new_bucket(self, name: str, body: Document) -> Document:
        now = zulu_time(self._clock.now())
        bucket: Document = {
            key: value for key, value in without_blanks(body).items() if value not in ([], {}) or key == "lifecycle"
        }
        location = str(body.get("location") or "US").upper()
        bucket.update(
            kind="storage#bucket",
            id=name,
            selfLink=f"https://www.googleapis.com/storage/v1/b/{name}",
            projectNumber=self._settings.project_number,
            generation=self._store.next_id()[:16],
            metageneration="1",
            location=location,
            locationType="region" if "-" in location else "multi-region",
            storageClass=body.get("storageClass") or "STANDARD",
            etag=_etag(1),
            timeCreated=now,
            updated=now,
            iamConfiguration=_iam_configuration(body.get("iamConfiguration") or {}, now),
            softDeletePolicy=_soft_delete(body.get("softDeletePolicy") or {}, now),
        )
        return bucket

    def get(self, call: Call) -> Document:
        return self._find(call, "storage.buckets.get")

    def patch(self, call: Call) -> Document:
        old = self._find(call, "storage.buckets.update")
        _check_bucket(call.body)
        wanted = call.query.get("ifMetagenerationMatch")
        if wanted is not None and wanted != old["metageneration"]:
            raise api_errors.condition_not_met("At least one of the pre-conditions you specified did not hold.")
        now, count = zulu_time(self._clock.now()), int(old["metageneration"]) + 1
        bucket = merge_patch(old, {key: value for key, value in call.body.items() if key not in _FIXED})
        bucket.update(metageneration=str(count), updated=now, etag=_etag(count))
        bucket["iamConfiguration"] = _iam_configuration(bucket.get("iamConfiguration") or {}, now)
        bucket["softDeletePolicy"] = _soft_delete(bucket.get("softDeletePolicy") or {}, now)
        self._store.put(BUCKETS + bucket["name"], bucket)
        return bucket

    async def delete(self, call: Call) -> Answer:
        bucket = self._find(call, "storage.buckets.delete")
        if await self._objects.holds_objects(bucket["name"]):
            raise api_errors.conflict("The bucket you tried to delete is not empty.", reason="conflict")
        await self._objects.remove_bucket(bucket["name"])
        self._store.delete(BUCKETS + bucket["name"])
        for records in (CHANGED, DELETED):
            for key, _ in self._store.items(f"{records}{bucket['name']}/"):
                self._store.delete(key)
        self._access.forget_policy(POLICY_OWNER.format(bucket=bucket["name"]))
        return Answer(status=204)

    def list_caches(self, call: Call) -> Document:
        self._find(call, "storage.buckets.get")
        return {"kind": "storage#anywhereCaches"}

    def get_layout(self, call: Call) -> Document:
        bucket = self._find(call, "storage.objects.list")
        return {
            "kind": "storage#storageLayout",
            "bucket": bucket["name"],
            "location": bucket["location"],
            "locationType": bucket["locationType"],
            "hierarchicalNamespace": {"enabled": False},
        }

    def get_policy(self, call: Call) -> Document:
        bucket = self._find(call, "storage.buckets.getIamPolicy")
        return self._policy_answer(bucket["name"], requested_version(call))

    def _policy_answer(self, name: str, version: int = VERSION) -> Document:
        policy = policy_document(self._access, POLICY_OWNER.format(bucket=name), version)
        return {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{name}", **policy}

    def set_policy(self, call: Call) -> Document:
        name = self._find(call, "storage.buckets.setIamPolicy")["name"]
        stale = api_errors.condition_not_met("Precondition Failed")
        replace_policy(self._access, POLICY_OWNER.format(bucket=name), call.body, stale=stale)
        return self._policy_answer(name)

    def test_permissions(self, call: Call) -> Document:
        name = call.params["bucket"]
        if self._store.get(BUCKETS + name) is None:
            raise no_bucket()
        owners = [POLICY_OWNER.format(bucket=name)]
        wanted = [one for given in call.repeated.get("permissions", ()) for one in given.split(",") if one]
        check_permissions(wanted)
        allowed = [one for one in wanted if self._access.allows(call.caller, one, "", owners=owners)]
        return {"kind": "storage#testIamPermissionsResponse", "permissions": allowed}


_FIXED = ("kind", "id", "name", "selfLink", "projectNumber", "generation", "metageneration", "timeCreated", "location")


def _check_bucket(body: Document) -> None:
    check_labels(body.get("labels"), field="labels")
    check_choice(body.get("storageClass"), _STORAGE_CLASSES, field="storageClass")
    access = (body.get("iamConfiguration") or {}).get("publicAccessPrevention")
    check_choice(access, ("inherited", "enforced"), field="iamConfiguration.publicAccessPrevention")
    for index, rule in enumerate((body.get("lifecycle") or {}).get("rule") or ()):
        if not rule.get("action") or not rule.get("condition"):
            raise api_errors.invalid(f"lifecycle.rule[{index}]: a rule needs an action and a condition.")


def _etag(count: int) -> str:
    return base64.b64encode(bytes([8, count % 256])).decode()


def _iam_configuration(sent: Document, now: str) -> Document:
    uniform = sent.get("uniformBucketLevelAccess") or sent.get("bucketPolicyOnly") or {}
    shown: Document = {"enabled": bool(uniform.get("enabled"))}
    if shown["enabled"]:
        shown["lockedTime"] = uniform.get("lockedTime") or now
    return {
        "bucketPolicyOnly": dict(shown),
        "uniformBucketLevelAccess": dict(shown),
        "publicAccessPrevention": sent.get("publicAccessPrevention") or "inherited",
    }


def _soft_delete(sent: Document, now: str) -> Document:
    given: Any = sent.get("retentionDurationSeconds")
    seconds = _SOFT_DELETE_S if given in (None, "") else read_int(given, field="softDeletePolicy")
    shown: Document = {"retentionDurationSeconds": str(seconds)}
    return {**shown, "effectiveTime": sent.get("effectiveTime") or now} if seconds else shown


def merge_patch(old: Document, new: Document) -> Document:
    """Return a JSON merge patch (RFC 7396)."""
    merged = dict(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            there = merged.get(key)
            merged[key] = merge_patch(there if isinstance(there, dict) else {}, value)
        else:
            merged[key] = value
    return merged
