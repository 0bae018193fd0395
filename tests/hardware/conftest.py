"""Fixtures for the tests of the job interface."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardware.hosts import Host, openssh_host


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Yield a real sshd, shared by the tests of a module."""
    with tempfile.TemporaryDirectory(prefix="hpc host ") as folder, openssh_host(Path(folder)) as made:
        yield made
