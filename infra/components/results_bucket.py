"""The bucket that keeps result sets until they are downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from infra.provider import gcp

DAY_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class ResultsBucketArgs:
    """``protect``: refuse to destroy it; ``force_destroy``: a destroy deletes the objects too."""

    name: str
    project: str
    location: str
    labels: Mapping[str, str]
    results_days: int
    soft_delete_days: int
    protect: bool
    force_destroy: bool


class ResultsBucket(pulumi.ComponentResource):
    """A private bucket: access by IAM only, public access prevented, old objects and incomplete uploads are deleted automatically."""

    def __init__(self, name: str, args: ResultsBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opensees-hpc:infra:ResultsBucket", name, None, opts)
        self.bucket = gcp.storage.Bucket(
            name,
            name=args.name,
            project=args.project,
            location=args.location,
            labels=dict(args.labels),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            force_destroy=args.force_destroy,
            soft_delete_policy={"retention_duration_seconds": args.soft_delete_days * DAY_S},
            lifecycle_rules=[
                {"action": {"type": "Delete"}, "condition": {"age": args.results_days}},
                {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}},
            ],
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.register_outputs({"name": self.bucket.name})
