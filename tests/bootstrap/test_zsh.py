"""``source bootstrap`` in zsh, the shell of macOS."""

from __future__ import annotations

import shutil

import pytest

from tests.bootstrap.clone import Clone
from tests.bootstrap.test_sourcing import CHECK
from tests.needs import need

ZSH = shutil.which("zsh") or "zsh"


@pytest.fixture(autouse=True)
def zsh() -> None:
    need("zsh")


@pytest.mark.parametrize("options", ["", "-u", "-e"])
def test_zsh_gets_path_and_keeps_the_rest(ready_clone: Clone, options: str) -> None:
    done = ready_clone.shell([ZSH, "-f", *([options] if options else []), str(CHECK), str(ready_clone.bootstrap)])
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"pulumi={ready_clone.tools / 'pulumi'}",
        f"python3={ready_clone.venv / 'bin' / 'python3'}",
        "options=same",
        "arguments=same",
        "functions=",
        "variables=",
        "twice=same",
    ]


def test_zsh_runs_it_with_bash(ready_clone: Clone) -> None:
    done = ready_clone.shell([ZSH, "-f", str(ready_clone.bootstrap), "pulumi", "version"])
    assert done.stdout == "v3.231.0\n"
