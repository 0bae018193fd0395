"""Scripts of packer/ run as a VM's image build runs them, and a copy of the shared prefix that a test may change."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

PACKER = Path(__file__).parents[2] / "packer"
BAKE = PACKER / "bake"


def copy_prefix(prefix: Path, to: Path) -> Path:
    """Return a copy of hard links where they can be, as an instance's root folder is one of its image's."""
    shutil.copytree(prefix, to, copy_function=_link_or_copy)
    return to


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # The cache that holds the prefix may be on another file system.
        shutil.copy2(source, target)


def run_script(name: str, *arguments: str, prefix: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a script for ``prefix``; its output. Never without a prefix: that would mean the machine's own."""
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
