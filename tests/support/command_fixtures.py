"""Sites for the tests of commands: one with an embedded cloud for each module, one on which no command was ever run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cloud_inventory import Inventory
from tests.support.command_site import CommandSite


@pytest.fixture(scope="module")
def cloud_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    yield home
    CommandSite(home=home).close()


@pytest.fixture
def site(cloud_home: Path) -> CommandSite:
    """Return a site whose cloud and journal are shared by the tests of a module, which use names of their own."""
    return CommandSite(home=cloud_home)


@pytest.fixture
def fresh_site(tmp_path: Path) -> Iterator[CommandSite]:
    made = CommandSite(home=tmp_path / "home")
    yield made
    made.close()


@pytest.fixture
def inventory(cloud_home: Path) -> Iterator[Inventory]:
    """Yield an empty cloud."""
    made = Inventory(site=CommandSite(home=cloud_home))
    yield made
    made.ask("POST", "/_local/reset")
    for folder in ("engine", "stacks", "journal"):
        for file in (cloud_home / "local" / folder).rglob("*"):
            if file.is_file():
                file.unlink()
