"""A results bucket for the tests of storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.bucket import Batch, Site, new_batch, running_site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def batch(site: Site, tmp_path: Path) -> Iterator[Batch]:
    yield new_batch(site, tmp_path / "results")
    site.clear_faults()
