"""The two kinds of host on which the job interface has to behave alike."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardware.hosts import Host, emulated_host, openssh_host


@pytest.fixture(scope="module", params=["openssh", "emulated"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host, shared by the tests of a module."""
    make = {"openssh": openssh_host, "emulated": emulated_host}[request.param]
    with tempfile.TemporaryDirectory(prefix="hpc host ") as folder, make(Path(folder)) as made:
        yield made
