"""The recipe `full` at run time: the driver gives OpenSees' real binaries the documented exit codes; their own mean nothing.

The binary here is a double: a Tcl shell that, like OpenSees, ends with 0 whatever happens in the script.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.packer.conftest import RunCommand
from tests.packer.prefix import copy_prefix
from tests.packer.test_run_ends import wait_until_gone

SHELL = """#!{python}
import os, sys, _tkinter
tcl = _tkinter.create(None, "opensees", "OpenSees", False, True, False, False, None)
def leave(code="0"):
    os._exit(int(code))
tcl.createcommand("exit", leave)
tcl.setvar("argv", tcl.call("list", *sys.argv[2:]))
try:
    tcl.call("source", sys.argv[1])
except _tkinter.TclError:
    pass
leave()
"""


@pytest.fixture
def native_prefix(opensees_prefix: Path, tmp_path: Path) -> Path:
    prefix = copy_prefix(opensees_prefix, tmp_path / "prefix")
    native = prefix / "lib" / "native"
    for name in ("OpenSees", "OpenSeesMP"):
        (native / name).write_text(SHELL.format(python=sys.executable))
        (native / name).chmod(0o755)
    (native / "mpi").symlink_to(prefix / "lib" / "site-packages" / "bin")
    return prefix


@pytest.mark.parametrize(
    ("script", "exit_code", "said"),
    [
        ("puts done", 0, ""),
        ("exit", 0, ""),
        ("exit 3", 3, ""),
        ("proc build {} { frobnicate }; build", 1, 'invalid command name "frobnicate"'),
        ("source missing.tcl", 1, "couldn't read file"),
    ],
)
def test_the_exit_code_of_the_script_is_that_of_the_command(
    script: str, exit_code: int, said: str, native_prefix: Path, tmp_path: Path, run_command: RunCommand
) -> None:
    (tmp_path / "main.tcl").write_text(script)
    for command in (("opensees",), ("openseesmp", "2")):
        ended = run_command(*command, "main.tcl", prefix=native_prefix)
        assert ended.exit_code == exit_code, ended
        assert said in ended.errors


@pytest.mark.parametrize(
    ("failure", "exit_code"), [("error stop", 1), ("exit 5", 5), ('exec sh -c "kill -KILL [pid]"', 137)]
)
def test_one_rank_that_fails_ends_all(
    failure: str, exit_code: int, native_prefix: Path, tmp_path: Path, run_command: RunCommand
) -> None:
    (tmp_path / "main.tcl").write_text(
        "set rank $env(PMI_RANK)\n"
        "set f [open pid.new-$rank w]; puts $f [pid]; close $f; file rename pid.new-$rank pid-$rank\n"
        "while {![file exists pid-0] || ![file exists pid-1]} { after 10 }\n"
        f"if {{$rank == 1}} {{ {failure} }}; after 600000\n"
    )
    ended = run_command("openseesmp", "2", "main.tcl", prefix=native_prefix)
    assert ended.exit_code == exit_code, ended
    wait_until_gone(tmp_path, 2)


def test_arguments_and_output_pass_through(native_prefix: Path, tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "main.tcl").write_text('puts "$argv0 $argc [lindex $argv 1]"; puts stderr careful')
    ended = run_command("openseesmp", "1", "main.tcl", "a", "b c", prefix=native_prefix)
    assert ended.output == "main.tcl 2 b c\n"
    assert ended.errors == "careful\n"


def test_the_double_is_as_silent_as_the_real_binary(
    native_prefix: Path, tmp_path: Path, run_command: RunCommand
) -> None:
    (tmp_path / "main.tcl").write_text("frobnicate")
    shutil.copy(native_prefix / "lib" / "native" / "OpenSees", native_prefix / "bin" / "bare")
    assert run_command("bare", "main.tcl", prefix=native_prefix).exit_code == 0
