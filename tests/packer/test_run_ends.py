"""The end of openseesmp, opensees and openseespy: the exit codes in packer/README.md, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.packer.conftest import RunCommand

LIMIT_S = 60
ONE_FAILS = "set f [open pid-[getPID] w]; puts $f [pid]; close $f; barrier; if {[getPID] == 1} { %s }; barrier"


def is_running(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(folder: Path, ranks: int) -> None:
    pids = [int((folder / f"pid-{rank}").read_text()) for rank in range(ranks)]
    end_s = time.monotonic() + LIMIT_S
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end_s, pids
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("failure", "exit_code", "said"),
    [
        ("nonsense 1 2", 1, 'invalid command name "nonsense": neither Tcl nor OpenSees'),
        ("error {what went wrong}", 1, "what went wrong"),
        ("element truss 1 1 2 1.0 99", 1, "element: the command failed; OpenSees printed the reason above"),
        ("exit 7", 7, ""),
        ("catch { exit 9 }; puts NEVER", 9, ""),
        ('exec sh -c "kill -KILL [pid]"; after 60000', 137, "lost rank"),
        ('exec sh -c "kill -SEGV [pid]"; after 60000', 139, "lost rank"),
    ],
)
def test_one_rank_that_fails_ends_all(
    failure: str, exit_code: int, said: str, tmp_path: Path, run_command: RunCommand
) -> None:
    (tmp_path / "main.tcl").write_text(ONE_FAILS % failure)
    ended = run_command("openseesmp", "2", "main.tcl")
    assert ended.exit_code == exit_code, ended
    assert said in ended.errors
    assert "NEVER" not in ended.output
    wait_until_gone(tmp_path, 2)


@pytest.mark.parametrize(
    ("failure", "exit_code", "told"),
    [
        ("exit 255", 255, "exit 255"),
        ("exit -1", 255, "exit 255"),
        ("exit 139", 139, "exit 139"),
        ("exit 0", 0, "exit 0"),
        ("error x", 1, "exit 1"),
        ('exec sh -c "kill -SEGV [pid]"; after 60000', 139, "signal 11"),
        ('exec sh -c "kill -KILL [pid]"; after 60000', 137, "signal 9"),
    ],
)
def test_an_exit_code_over_128_is_distinguished_from_a_signal(
    failure: str, exit_code: int, told: str, tmp_path: Path, run_command: RunCommand
) -> None:
    (tmp_path / "main.tcl").write_text(f"if {{[getPID] == 0}} {{ {failure} }}")
    ended = run_command("openseesmp", "1", "main.tcl", OPENSEES_HPC_STATUS_FILE=str(tmp_path / "status"))
    assert (ended.exit_code, (tmp_path / "status").read_text()) == (exit_code, f"{told}\n")


def test_a_status_that_cannot_be_written_changes_nothing(tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "main.tcl").write_text("exit 3")
    assert run_command("openseesmp", "1", "main.tcl", OPENSEES_HPC_STATUS_FILE="/no/such/folder/status").exit_code == 3


@pytest.mark.parametrize(
    ("main", "words", "last"),
    [
        ("main.tcl", ("openseesmp", "1"), "puts -nonewline {no newline}"),
        ("main.tcl", ("openseesmp", "1"), "puts -nonewline {no newline}; exit 3"),
        ("main.tcl", ("openseesmp", "1"), "puts -nonewline stderr {no newline}"),
        ("main.py", ("openseespy", "-n", "1"), "print('no newline', end='')"),
        ("main.py", ("openseespy", "-n", "1"), "import sys; sys.stderr.write('no newline'); sys.exit(3)"),
        ("main.py", ("openseespy", "-n", "1"), "print('no newline')"),
    ],
)
def test_a_last_line_without_a_newline_stays_a_line(
    main: str, words: tuple[str, ...], last: str, opensees_prefix: Path, tmp_path: Path
) -> None:
    (tmp_path / main).write_text(last)
    with (tmp_path / "log.txt").open("ab") as log:
        subprocess.run(
            [opensees_prefix / "bin" / words[0], *words[1:], main],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            timeout=LIMIT_S,
        )
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert "no newline" in lines
    assert "" not in lines


def test_an_error_names_rank_file_and_line(tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "part.tcl").write_text("proc build {} {\n  node 1 0.0\n  frobnicate\n}\nbuild\n")
    (tmp_path / "main.tcl").write_text("model basic -ndm 1 -ndf 1\nsource part.tcl\n")
    errors = run_command("opensees", "main.tcl").errors
    assert "Tcl error on rank 0 of 1 in main.tcl" in errors
    assert '(file "part.tcl" line 5)' in errors
    assert '(procedure "build" line 3)' in errors


@pytest.mark.parametrize(
    ("script", "exit_code"),
    [
        ("puts done", 0),
        ("exit", 0),
        ("exit 3", 3),
        ("quit", 0),
        ("proc leave {} { catch { exit 4 } }; leave; exit 5", 4),
        ("exit nothing", 1),
        ("expr 1 / 0", 1),
        ("return", 0),
        ("if {[catch {analyze 1}]} { exit 2 }", 2),
    ],
)
def test_the_exit_code_of_the_script_is_that_of_the_command(
    script: str, exit_code: int, tmp_path: Path, run_command: RunCommand
) -> None:
    (tmp_path / "main.tcl").write_text(script)
    assert run_command("opensees", "main.tcl").exit_code == exit_code
    assert run_command("openseesmp", "2", "main.tcl").exit_code == exit_code


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("openseesmp", "2"), 2, "usage: openseesmp N main.tcl [args]"),
        (("openseesmp", "0", "main.tcl"), 2, "must be 1 or more, not '0'"),
        (("openseesmp", "main.tcl", "2"), 2, "must be 1 or more, not 'main.tcl'"),
        (("openseesmp", "2", "missing.tcl"), 66, "no such script: missing.tcl"),
        (("opensees",), 2, "usage: opensees main.tcl [args]"),
        (("opensees", "missing.tcl"), 66, "no such script"),
        (("openseespy", "-n", "2"), 2, "usage: openseespy"),
        (("openseespy", "missing.py"), 66, "no such script"),
    ],
)
def test_wrong_arguments_are_rejected(
    arguments: tuple[str, ...], exit_code: int, said: str, run_command: RunCommand
) -> None:
    ended = run_command(*arguments)
    assert ended.exit_code == exit_code
    assert said in ended.errors


def test_everything_is_flushed_at_an_early_exit(tmp_path: Path, run_command: RunCommand) -> None:
    model = (
        "model basic -ndm 1 -ndf 1; node 1 0.0; node 2 1.0; fix 1 1; uniaxialMaterial Elastic 1 10.0\n"
        "element truss 1 1 2 1.0 1; pattern Plain 1 Linear { load 2 1.0 }\n"
        "recorder Node -file disp.out -time -node 2 -dof 1 disp\n"
        "constraints Plain; numberer Plain; system ProfileSPD; algorithm Linear\n"
        "integrator LoadControl 1.0; analysis Static; analyze 3\n"
        "set f [open notes.txt w]; puts $f written; puts -nonewline last; exit 5\n"
    )
    (tmp_path / "main.tcl").write_text(model)
    ended = run_command("openseesmp", "1", "main.tcl")
    assert (ended.exit_code, ended.output) == (5, "last")
    assert (tmp_path / "notes.txt").read_text() == "written\n"
    assert [line.split()[1] for line in (tmp_path / "disp.out").read_text().splitlines()] == ["0.1", "0.2", "0.3"]


def start_waiting_run(prefix: Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start two ranks that have printed a line and now wait for each other forever."""
    (folder / "main.tcl").write_text(
        "set f [open pid-[getPID] w]; puts $f [pid]; close $f; barrier\n"
        "if {[getPID] == 0} { puts ready; after 600000 }\nbarrier\n"
    )
    run = subprocess.Popen(
        [prefix / "bin" / "openseesmp", "2", "main.tcl"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    # The line has arrived although the rank that printed it neither ends nor prints more.
    assert run.stdout.readline() == "ready\n"
    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_ranks(number: signal.Signals, opensees_prefix: Path, tmp_path: Path) -> None:
    with start_waiting_run(opensees_prefix, tmp_path) as run:
        run.send_signal(number)
        assert run.wait(LIMIT_S) == 128 + number
    wait_until_gone(tmp_path, 2)


def test_ranks_do_not_outlive_a_killed_launcher(opensees_prefix: Path, tmp_path: Path) -> None:
    with start_waiting_run(opensees_prefix, tmp_path) as run:
        run.kill()
        assert run.wait(LIMIT_S) == -signal.SIGKILL
        wait_until_gone(tmp_path, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_nothing_in_tmp(number: signal.Signals, opensees_prefix: Path, tmp_path: Path) -> None:
    """MPICH's proxy writes the topology there, whatever TMPDIR is; this run has a topology that no other run has."""
    machine = "core:7 pu:1"
    with start_waiting_run(opensees_prefix, tmp_path, HWLOC_SYNTHETIC=machine) as run:
        described = [file for file in Path("/tmp").glob("hydra_hwloc_*") if _contains(file, machine)]
        run.send_signal(number)
        run.wait(LIMIT_S)
        wait_until_gone(tmp_path, 2)
    assert described == []


def _contains(file: Path, text: str) -> bool:
    try:
        return text in file.read_text(errors="replace")
    except OSError:  # a file of another run, which has just ended, or of another user
        return False


def test_output_and_errors_stay_apart(tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "main.tcl").write_text("puts [format {%.3f} 0.5]; puts stderr careful; puts stdout äß€")
    for command in (("opensees",), ("openseesmp", "1")):
        ended = run_command(*command, "main.tcl", LC_ALL="C")
        assert ended.output == "0.500\näß€\n"
        assert "careful\n" in ended.errors


def test_arguments_arrive_as_they_are(tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "main.tcl").write_text("puts $argv0; puts $argc; foreach word $argv { puts <$word> }")
    ended = run_command("openseesmp", "1", "main.tcl", "a b", "", "{", "$x [exit 1]", "-n")
    assert ended.output == "main.tcl\n5\n<a b>\n<>\n<{>\n<$x [exit 1]>\n<-n>\n"


@pytest.mark.parametrize(
    ("script", "exit_code", "said"),
    [
        ("print('fine', flush=True)", 0, ""),
        ("raise ValueError('no good')", 1, "ValueError: no good"),
        ("import sys; sys.exit(6)", 6, ""),
        ("import sys; sys.exit('in words')", 1, "in words"),
        ("import helper", 0, ""),
    ],
)
def test_python_scripts(script: str, exit_code: int, said: str, tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "helper.py").write_text("import openseespy.opensees as ops\nassert ops.getNDM\n")
    (tmp_path / "main.py").write_text(script)
    for command in (("openseespy",), ("openseespy", "-n", "2")):
        ended = run_command(*command, "main.py")
        assert ended.exit_code == exit_code
        assert said in ended.errors


def test_one_python_rank_that_fails_ends_all(tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "main.py").write_text(
        "import os, openseespy.opensees as ops\n"
        "open(f'pid-{ops.getPID()}', 'w').write(str(os.getpid()))\n"
        "ops.barrier()\nif ops.getPID() == 0:\n    ops.element('truss', 1)\nops.barrier()\n"
    )
    ended = run_command("openseespy", "-n", "2", "main.py")
    assert ended.exit_code == 1
    assert "error on rank 0 of 2 in main.py" in ended.errors
    wait_until_gone(tmp_path, 2)


def test_each_rank_has_one_thread_unless_more_are_requested(tmp_path: Path, run_command: RunCommand) -> None:
    (tmp_path / "main.tcl").write_text("puts $env(OMP_NUM_THREADS)")
    assert run_command("opensees", "main.tcl", OMP_NUM_THREADS="").output == "1\n"
    assert run_command("opensees", "main.tcl", OMP_NUM_THREADS="2").output == "2\n"
