"""A results bucket for the tests of storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bucket import Batch, Site, new_batch, running_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, running_site(tmp_path_factory.mktemp("site")) as site:
        # Else Google's client asks for the bucket in a thread of its own, which may outlive the client.
        patch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        yield site


@pytest.fixture
def batch(site: Site, tmp_path: Path) -> Iterator[Batch]:
    made = new_batch(site, tmp_path / "results")
    yield made
    made.store.close()
    site.clear_faults()
