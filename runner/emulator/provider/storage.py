"""Buckets and objects."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import quote

from runner.emulator.provider.compute import without_empty
from runner.emulator.provider.links import same_text
from runner.emulator.provider.resource import Cloud, Edit, Operations, ProviderError, ResourceType, read_labels
from runner.emulator.provider.rest import Answer, ApiError
from runner.emulator.provider.schema import (
    all_fields,
    asset,
    block,
    flag,
    labels,
    listing,
    mapping,
    number,
    output,
    outputs,
    project,
    resource_name,
    text,
)
from runner.emulator.provider.values import Asset, Properties

ROOT = "storage/v1/b"
_BUCKET_NAME = r"[a-z0-9][-._a-z0-9]{1,220}[a-z0-9]"
_CONDITIONS = {
    "age": "age",
    "createdBefore": "createdBefore",
    "daysSinceNoncurrentTime": "daysSinceNoncurrentTime",
    "matchesPrefixes": "matchesPrefix",
    "matchesStorageClasses": "matchesStorageClass",
    "matchesSuffixes": "matchesSuffix",
    "numNewerVersions": "numNewerVersions",
}


class BucketOperations(Operations):
    """storage.Bucket."""

    def create(self, cloud: Cloud, news: Properties) -> str:
        project = cloud.location_of(news, "project")
        body = {"name": news["name"], "location": news["location"], "labels": cloud.labels(news)}
        body |= {key: value for name in self._PARTS for key, value in self._part(name, news).items()}
        try:
            cloud.rest.post(ROOT, without_empty(body), project=project)
        except ApiError as error:
            raise ProviderError(str(error)) from error
        return str(news["name"])

    _PARTS = ("storageClass", "versioning", "lifecycleRules", "softDeletePolicy", "iamConfiguration", "requesterPays")

    def _part(self, name: str, news: Properties) -> Answer:
        """Return one part of a bucket as requests have it, for creation and for a change of only that part."""
        match name:
            case "lifecycleRules":
                return {"lifecycle": {"rule": [_rule_body(rule) for rule in news.get("lifecycleRules", [])]}}
            case "softDeletePolicy" if "softDeletePolicy" in news:
                return {
                    name: {"retentionDurationSeconds": str(news[name].get("retentionDurationSeconds", 604800))},
                }
            case "iamConfiguration":
                return {name: self._iam_part(news)}
            case "requesterPays":
                return {"billing": {"requesterPays": True}} if news.get(name) else {}
        return {name: news[name]} if name in news else {}

    def _iam_part(self, news: Properties) -> Answer:
        uniform = news.get("uniformBucketLevelAccess")
        return without_empty(
            {
                "publicAccessPrevention": news.get("publicAccessPrevention"),
                "uniformBucketLevelAccess": None if uniform is None else {"enabled": uniform},
            }
        )

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        name = id.rsplit("/", 1)[-1]
        found = cloud.rest.find(f"{ROOT}/{name}")
        if not found or not found.get("id"):
            return None
        iam, soft = found.get("iamConfiguration", {}), found.get("softDeletePolicy")
        seconds = soft.get("retentionDurationSeconds") if soft else None
        return {
            "id": name,
            "name": found.get("name", name),
            "project": prior.get("project") or cloud.settings.project,
            "location": found.get("location"),
            "storageClass": found.get("storageClass"),
            "forceDestroy": prior.get("forceDestroy", False),
            "uniformBucketLevelAccess": iam.get("uniformBucketLevelAccess", {}).get("enabled"),
            "publicAccessPrevention": iam.get("publicAccessPrevention") or prior.get("publicAccessPrevention"),
            "versioning": {"enabled": found["versioning"].get("enabled", False)} if "versioning" in found else None,
            "lifecycleRules": [_rule_state(rule) for rule in found.get("lifecycle", {}).get("rule", [])],
            "softDeletePolicy": soft
            and {"retentionDurationSeconds": int(seconds or 0), "effectiveTime": soft.get("effectiveTime")},
            "requesterPays": found.get("billing", {}).get("requesterPays"),
            "projectNumber": int(found["projectNumber"]) if found.get("projectNumber") else None,
            "url": f"gs://{name}",
            "selfLink": found.get("selfLink"),
            "timeCreated": found.get("timeCreated"),
            "updated": found.get("updated"),
        } | read_labels(found.get("labels"), prior)

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        body: Answer = {}
        for name in self._PARTS:
            iam = ("uniformBucketLevelAccess", "publicAccessPrevention") if name == "iamConfiguration" else (name,)
            if edit.touches(*iam):
                body |= self._part(name, edit.news)
        if edit.touches_labels:
            gone = set(edit.olds.get("effectiveLabels", {})) - set(edit.labels)
            body["labels"] = dict(edit.labels) | dict.fromkeys(gone)
        cloud.rest.patch(f"{ROOT}/{id}", body)

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        path = f"{ROOT}/{id}"
        if cloud.rest.find(f"{path}/anywhereCaches/") is None:
            return
        objects = _all_objects(cloud, f"{path}/o")
        if objects and not state.get("forceDestroy"):
            raise ProviderError(f"Error trying to delete bucket {id} without `force_destroy` set to true")
        for found in objects:
            cloud.rest.remove(f"{path}/o/{quote(found['name'], safe='')}", generation=str(found["generation"]))
        cloud.rest.remove(path)


def _all_objects(cloud: Cloud, path: str) -> list[Answer]:
    page = cloud.rest.get(path, versions="true")
    found = list(page.get("items", []))
    while page.get("nextPageToken"):
        page = cloud.rest.get(path, versions="true", pageToken=page["nextPageToken"])
        found += page.get("items", [])
    return found


def _rule_body(rule: Properties) -> Answer:
    condition = {there: rule["condition"][here] for here, there in _CONDITIONS.items() if here in rule["condition"]}
    return {"action": dict(rule["action"]), "condition": condition}


def _rule_state(rule: Answer) -> Properties:
    condition = {here: rule["condition"].get(there) for here, there in _CONDITIONS.items()}
    return {"action": {key: rule["action"].get(key) for key in ("type", "storageClass")}, "condition": condition}


_RULE = {
    "action": block({"type": text(required=True), "storageClass": text()}, required=True),
    "condition": block(
        {
            "age": number(),
            "createdBefore": text(),
            "daysSinceNoncurrentTime": number(),
            "matchesPrefixes": listing(text()),
            "matchesStorageClasses": listing(text()),
            "matchesSuffixes": listing(text()),
            "numNewerVersions": number(),
        },
        required=True,
    ),
}

BUCKET = ResourceType(
    token="gcp:storage/bucket:Bucket",  # noqa: S106
    operations=BucketOperations(),
    fields=all_fields(
        resource_name(pattern=_BUCKET_NAME),
        project(),
        labels(),
        {
            "location": text(required=True, replace=True, same=same_text),
            "storageClass": text(default="STANDARD"),
            "forceDestroy": flag(default=False),
            "uniformBucketLevelAccess": flag(computed=True),
            "publicAccessPrevention": text(computed=True, choices=("inherited", "enforced")),
            "versioning": block({"enabled": flag(required=True)}, computed=True),
            "lifecycleRules": listing(block(_RULE)),
            "softDeletePolicy": block(
                {"retentionDurationSeconds": number(default=604800), "effectiveTime": output(text())}, computed=True
            ),
            "requesterPays": flag(),
            "projectNumber": output(number()),
        },
        outputs("url", "selfLink", "timeCreated", "updated"),
    ),
)

_OBJECT_PLAIN = ("contentType", "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "metadata")


class BucketObjectOperations(Operations):
    """storage.BucketObject."""

    def problems(self, news: Properties) -> list[str]:
        return [] if "content" in news or "source" in news else ["one of 'content', 'source' must be specified"]

    def drift(self, olds: Properties, news: Properties) -> list[str]:
        held: Any = news.get("source") or news.get("content")
        if not isinstance(held, Asset | str):
            return []
        return ["detectMd5hash"] if olds.get("md5hash") != _md5(_bytes_of(news)) else []

    def create(self, cloud: Cloud, news: Properties) -> str:
        self._upload(cloud, news)
        return f"{news['bucket']}-{news['name']}"

    def _upload(self, cloud: Cloud, news: Properties) -> None:
        about = {"bucket": news["bucket"], "storageClass": news.get("storageClass")}
        about |= {key: news.get(key) for key in _OBJECT_PLAIN}
        media_type = news.get("contentType") or "application/octet-stream"
        content, boundary = _bytes_of(news), secrets.token_hex(30)
        lead = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps(without_empty(about), sort_keys=True)}\r\n"
        media = f"--{boundary}\r\nContent-Type: {media_type}\r\n\r\n"
        try:
            cloud.rest.call(
                "POST",
                f"upload/{ROOT}/{news['bucket']}/o",
                query={"name": news["name"], "uploadType": "multipart"},
                content=(lead + media).encode() + content + f"\r\n--{boundary}--\r\n".encode(),
                headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            )
        except ApiError as error:
            raise ProviderError(f"Error uploading object {news['name']}: {error}") from error

    def read(self, cloud: Cloud, id: str, prior: Properties) -> Properties | None:
        bucket, name = prior.get("bucket"), prior.get("name")
        if not bucket or not name:
            bucket, _, name = id.partition("/")
        found = cloud.rest.find(f"{ROOT}/{bucket}/o/{quote(name, safe='')}")
        if found is None:
            return None
        md5 = found.get("md5Hash", "")
        plain = {key: found.get(key) for key in (*_OBJECT_PLAIN, "crc32c", "mediaLink", "selfLink", "storageClass")}
        return plain | {
            "id": f"{bucket}-{name}",
            "bucket": bucket,
            "name": name,
            "outputName": name,
            "content": prior.get("content"),
            "source": prior.get("source"),
            "md5hash": md5,
            "detectMd5hash": md5,
            "md5hexhash": base64.b64decode(md5).hex(),
            "generation": int(found["generation"]) if found.get("generation") else None,
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        self._upload(cloud, {"storageClass": edit.olds.get("storageClass")} | edit.news)

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        cloud.rest.remove(f"{ROOT}/{state['bucket']}/o/{quote(state['name'], safe='')}")


def _bytes_of(news: Properties) -> bytes:
    source = news.get("source")
    return source.read_bytes() if isinstance(source, Asset) else str(news.get("content", "")).encode()


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


BUCKET_OBJECT = ResourceType(
    token="gcp:storage/bucketObject:BucketObject",  # noqa: S106
    operations=BucketObjectOperations(),
    fields=all_fields(
        resource_name(pattern=r"[^\r\n]{1,1024}"),
        {
            "bucket": text(required=True, replace=True),
            "content": text(conflicts=("source",)),
            "source": asset(),
            "contentType": text(computed=True, replace=True),
            "cacheControl": text(replace=True),
            "contentDisposition": text(replace=True),
            "contentEncoding": text(replace=True),
            "contentLanguage": text(replace=True),
            "storageClass": text(computed=True, replace=True),
            "metadata": mapping(replace=True),
            "detectMd5hash": text(computed=True),
            "generation": output(number()),
        },
        outputs("outputName", "md5hash", "md5hexhash", "crc32c", "mediaLink", "selfLink"),
    ),
)
