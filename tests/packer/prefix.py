"""A prefix with the recipe `wheels` installed for real: built once a test run, shared by all workers of pytest-xdist."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKER = Path(__file__).parents[2] / "packer"


@pytest.fixture(scope="session")
def opensees_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix. Tests may not change it."""
    base = tmp_path_factory.getbasetemp()
    # A worker of xdist has a folder of its own below the one of the whole run.
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    prefix = root / "opensees prefix"
    with (root / "opensees-prefix.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (prefix / "etc" / "recipe").exists():
            build_wheels(prefix)
    return prefix


def build_wheels(prefix: Path) -> str:
    """Runs the recipe as a user without rights would; what it said."""
    return run_script("build_opensees_wheels.sh", "2", prefix=prefix)


def run_script(name: str, *arguments: str, prefix: Path, environment: Mapping[str, str] | None = None) -> str:
    """Runs a script of packer/ for ``prefix``; its output. Never without a prefix: that means the machine's own."""
    done = subprocess.run(
        ["bash", PACKER / name, *arguments],
        env={**os.environ, **(environment or {}), "OPENSEES_HPC_PREFIX": str(prefix)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
