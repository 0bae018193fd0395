"""Copies of the repository to bootstrap in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bootstrap.clone import Clone, make_clone


@pytest.fixture
def bare_clone(tmp_path: Path) -> Clone:
    """A clone on a computer without Python and without Pulumi."""
    return make_clone(tmp_path)


@pytest.fixture
def clone(bare_clone: Clone) -> Clone:
    """A clone on a computer that has both; nothing is installed yet."""
    bare_clone.add_python()
    bare_clone.add_uv()
    bare_clone.add_pulumi()
    return bare_clone


@pytest.fixture(scope="module")
def ready_clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with everything installed, for tests that change nothing in it."""
    clone = make_clone(tmp_path_factory.mktemp("ready"))
    clone.add_python()
    clone.add_uv()
    clone.add_pulumi()
    done = clone.run()
    assert done.returncode == 0, done.stderr
    return clone
