"""Fixtures for the tests of packer/: an installed prefix, and a way to run its commands."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.prefix import opensees_prefix

__all__ = ["opensees_prefix"]

LIMIT_S = 120


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended and what it printed."""

    exit_code: int
    output: str
    errors: str


RunCommand = Callable[..., Ended]


@pytest.fixture
def run_command(opensees_prefix: Path, tmp_path: Path) -> RunCommand:
    """Return a function: ``run_command("openseesmp", "2", "main.tcl")`` runs in the test's own folder."""

    def run(name: str, *arguments: str, prefix: Path = opensees_prefix, **environment: str) -> Ended:
        done = subprocess.run(
            [prefix / "bin" / name, *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return Ended(exit_code=done.returncode, output=done.stdout, errors=done.stderr)

    return run
