"""Runs scripts of packer/ as a bake does, and copies the shared prefix for a test to change."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

PACKER = Path(__file__).parents[2] / "packer"
BAKE = PACKER / "bake"


def copy_prefix(prefix: Path, to: Path) -> Path:
    """Return a copy, with hard links where possible, like an instance's root folder and its image's."""
    shutil.copytree(prefix, to, copy_function=_link_or_copy)
    return to


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # The cache that holds the prefix may be on another file system.
        shutil.copy2(source, target)


def run_script(name: str, *arguments: str, prefix: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a script for ``prefix`` and return its output. A prefix is required: the default would be this computer's own."""
    done = subprocess.run(
        ["bash", BAKE / name, *arguments],
        env={**os.environ, **(environment or {}), "OPENSEES_HPC_PREFIX": str(prefix)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
