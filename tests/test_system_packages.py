"""What is said, and left out, when the operating system lacks something."""

from __future__ import annotations

from pathlib import Path

from tests.system_packages import (
    MissingPackage,
    describe_missing,
    find_program,
    ignore_options,
    install,
    list_requirements,
)

ROOT = Path(__file__).resolve().parent.parent
ZSH = MissingPackage(name="zsh", debian="zsh", why="sourcing", leaves_out=("tests/a.py", "tests/b"))
TCL = MissingPackage(name="_tkinter", debian="", why="Tcl", leaves_out=())


def test_says_what_for_and_how_to_get_it() -> None:
    assert describe_missing([ZSH, TCL]) == [
        "missing: zsh (sourcing): sudo apt-get install zsh; leaves out tests/a.py, tests/b",
        "missing: _tkinter (Tcl): use a Python that has it",
    ]


def test_leaves_out_what_cannot_run() -> None:
    assert ignore_options([ZSH, TCL]) == ["--ignore=tests/a.py", "--ignore=tests/b"]


def test_installs_nothing_for_what_no_package_has() -> None:
    present = {requirement.package.name for requirement in list_requirements() if requirement.is_there()}
    assert not present & {package.name for package in install([TCL])}


def test_what_is_left_out_exists() -> None:
    paths = {path for requirement in list_requirements() for path in requirement.package.leaves_out}
    assert not {path for path in paths if not (ROOT / path).exists()}


def test_finds_programs() -> None:
    assert find_program("sh")()
    assert not find_program("no-such-program")()
