"""A bake on the embedded cloud checks that this computer has the programs that it needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import MissingToolError
from runner.wiring.bake_host import check_bake_host
from runner.wiring.clouds import ROOT
from tests.needs import need

PACKER = ROOT / "packer"


def test_the_environment_of_bootstrap_is_enough_with_any_python_first_on_path(tmp_path: Path) -> None:
    need("tcl")
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    check_bake_host(PACKER, "wheels", {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})


def test_the_recipe_says_what_is_missing() -> None:
    environment = {"PATH": os.environ["PATH"], "OPENSEES_HPC_PYTHON": "/bin/false"}
    with pytest.raises(MissingToolError) as caught:
        check_bake_host(PACKER, "full", environment)
    assert "compiling needs root" in caught.value.message


def test_without_bash(tmp_path: Path) -> None:
    (tmp_path / "bash").write_text("#!/bin/sh\necho no bash here >&2\nexit 127\n")
    (tmp_path / "bash").chmod(0o755)
    with pytest.raises(MissingToolError, match="no bash here"):
        check_bake_host(PACKER, "wheels", {"PATH": str(tmp_path)})
