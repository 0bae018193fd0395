"""What is said, and skipped, when the operating system lacks something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import need, why_missing
from tests.system_packages import Requirement, describe_missing, find_program, install, list_requirements

ROOT = Path(__file__).resolve().parent.parent
ZSH = Requirement(name="zsh", debian="zsh", why="sourcing", is_there=lambda: False)
TCL = Requirement(name="tcl", debian="", why="models", is_there=lambda: False)
SKIPPING = "import pytest\n\ndef test_a() -> None:\n    pytest.skip('no zsh')\n"


def test_says_what_for_and_how_to_get_it() -> None:
    assert describe_missing([ZSH, TCL]) == [
        "zsh is missing (sourcing): sudo apt-get install zsh",
        "tcl is missing (models): use a machine or a Python that has it",
        "exactly the tests that need these will be skipped; each says which at the end",
    ]
    assert describe_missing([]) == []


def test_installs_nothing_for_what_no_package_has() -> None:
    present = {requirement.name for requirement in list_requirements() if requirement.is_there()}
    assert not present & {requirement.name for requirement in install([TCL])}


def test_finds_programs() -> None:
    assert find_program("sh")
    assert not find_program("no-such-program")


def test_a_test_without_what_it_needs_is_skipped_with_the_reason(tmp_path: Path) -> None:
    """In another process, whose PATH has no zsh."""
    code = "from tests.needs import need\nneed('zsh')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    is_elsewhere = any(Path(folder, "zsh").exists() for folder in ("/usr/local/sbin", "/usr/sbin", "/sbin"))
    assert is_elsewhere or "Skipped: zsh is missing (sourcing bootstrap from zsh): sudo apt-get" in done.stderr


def test_what_is_missing_is_said_at_the_beginning(tmp_path: Path) -> None:
    """On a machine without any program, and without apt-get to get them with."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.system_packages", "--install"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert "git is missing (the checks of the whole repository): sudo apt-get install git" in lines
    assert lines[-1] == "exactly the tests that need these will be skipped; each says which at the end"


def test_what_is_there_skips_nothing() -> None:
    present = [requirement.name for requirement in list_requirements() if requirement.is_there()]
    assert present
    need(*present)


def test_a_need_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        why_missing("no-such-requirement")


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(("options", "exit_code"), [([], 0), (["--skip-nothing"], 1)])
def test_where_everything_is_there_a_skipped_test_is_a_failure(
    tmp_path: Path, options: list[str], exit_code: int, workers: str
) -> None:
    (tmp_path / "test_a.py").write_text(SKIPPING)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            "-n",
            workers,
            *options,
            tmp_path,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert ("skipped, though this machine has everything" in done.stdout) == bool(options)
