"""A batch in a bucket, and a client's computer for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.batch.clients.client import Client
from tests.support.bucket import Batch
from tests.support.bucket_fixtures import batch, bucket_site

__all__ = ["batch", "bucket_site", "client"]


@pytest.fixture
def client(batch: Batch, tmp_path: Path) -> Client:
    """Return a computer on which nothing was ever done."""
    return Client(batch=batch, state_folder=tmp_path / "state")
