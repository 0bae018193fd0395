"""A results bucket for the tests of storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bucket import Batch, Site, new_batch, running_site


@pytest.fixture(scope="session")
def bucket_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, running_site(tmp_path_factory.mktemp("site")) as found:
        # Otherwise Google's client requests the bucket in a thread of its own, which may still run after the client is closed.
        patch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        yield found


@pytest.fixture
def batch(bucket_site: Site, tmp_path: Path) -> Iterator[Batch]:
    made = new_batch(bucket_site, tmp_path / "results")
    yield made
    made.store.close()
    bucket_site.clear_faults()
