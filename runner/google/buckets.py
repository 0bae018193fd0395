"""Buckets of a project by name: whether they exist, and the one that is created outside Pulumi, because it holds Pulumi's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.google.objects import Objects
from runner.google.retry import RETRY_BUDGET_S
from runner.google.storage_errors import mapped_errors
from runner.model import names

if TYPE_CHECKING:
    from google.cloud.storage import Client


class Buckets:
    """Buckets of a project by name. Every call may raise CloudError."""

    def __init__(self, new_client: Callable[[], Client]) -> None:
        self._new_client = new_client

    def exists(self, name: str) -> bool:
        """Return whether the bucket exists."""
        objects = Objects(self._new_client, name)
        try:
            return objects.exists()
        finally:
            objects.close()

    def make_state_bucket(self, name: str, location: str) -> None:
        """Create a private bucket that keeps old versions: a lost or half-written state can be restored."""
        client = self._new_client()
        try:
            with mapped_errors(f"bucket {name}"):
                bucket = client.bucket(name)
                bucket.versioning_enabled = True
                bucket.iam_configuration.uniform_bucket_level_access_enabled = True
                bucket.iam_configuration.public_access_prevention = "enforced"
                bucket.labels = {"app": names.APP}
                bucket.create(location=location, timeout=RETRY_BUDGET_S)
        finally:
            client.close()
