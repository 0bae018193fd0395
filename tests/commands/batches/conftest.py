"""A batch in the bucket of tests/core, and a client's machine for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.batches.client import Client
from tests.core.bucket import Batch
from tests.core.conftest import batch, site

__all__ = ["batch", "client", "site"]


@pytest.fixture
def client(batch: Batch, tmp_path: Path) -> Client:
    """A machine on which nothing was ever done."""
    return Client(batch=batch, home=tmp_path / "home")
