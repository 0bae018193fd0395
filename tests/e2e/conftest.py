"""One site for all end-to-end tests of a worker: base and image are created once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(home=tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@pytest.fixture
def fresh_site(tmp_path: Path) -> Iterator[Site]:
    """Yield a site on which no command was ever run."""
    made = Site(home=tmp_path / "home")
    yield made
    if (made.home / "local").exists():
        made.close()
