"""What ``./bootstrap COMMAND`` installs, keeps, repairs and passes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.bootstrap.clone import Clone, write_program

CREATING = "creating .venv"
PROMPT_S = 60


def test_runs_the_command_inside(ready_clone: Clone) -> None:
    done = ready_clone.run("bash", "-c", 'command -v python3 pulumi; echo "$VIRTUAL_ENV"')
    assert done.stderr == ""
    venv, tools = ready_clone.venv, ready_clone.tools
    assert done.stdout.splitlines() == [str(venv / "bin" / "python3"), str(tools / "pulumi"), str(venv)]


def test_our_packages_import_from_any_folder(ready_clone: Clone, tmp_path: Path) -> None:
    program = "import runner.errors; print(runner.errors.__file__)"
    bash = str(ready_clone.tools / "bash")
    done = ready_clone.shell([bash, str(ready_clone.bootstrap), "python3", "-c", program], cwd=tmp_path)
    assert done.stdout.strip() == str(ready_clone.root / "runner" / "errors.py")


@pytest.mark.parametrize(("name", "code"), [("invoke", 141), ("inv", 141), ("other", 120)])
def test_output_of_invoke_ends_silently_when_its_reader_exits(clone: Clone, name: str, code: int) -> None:
    assert clone.run().returncode == 0
    python = clone.venv / "bin" / "python"
    write_program(
        clone.venv / "bin" / name, f"#!/usr/bin/env {python.name}\nwhile True:\n    print('help', flush=True)\n"
    )
    done = clone.run("bash", "-c", f'"{name}" | true; exit "${{PIPESTATUS[0]}}"')
    assert (done.returncode, "BrokenPipeError" in done.stderr) == (code, code == 120)


def test_passes_on_arguments_and_exit_code(ready_clone: Clone) -> None:
    done = ready_clone.run("bash", "-c", 'printf "<%s>" "$@"; exit 7', "name", "a b", "", "*", "line\nbreak")
    assert (done.returncode, done.stdout) == (7, "<a b><><*><line\nbreak>")


def test_a_missing_command_is_127(ready_clone: Clone) -> None:
    assert ready_clone.run("no-such-command").returncode == 127


def test_second_run_starts_no_python(ready_clone: Clone) -> None:
    site_packages = next(ready_clone.venv.glob("lib/python3*/site-packages"))
    trace = ready_clone.tools.parent / "venv-starts"
    # No sitecustomize.py: some systems have one of their own, which comes first.
    (site_packages / "trace.pth").write_text(f"import io; io.open({str(trace)!r}, 'a').close()\n", encoding="utf-8")
    starts_before = ready_clone.python_starts.read_text(encoding="utf-8")
    assert ready_clone.run("bash", "-c", "exit 0", PYTHONPATH="").returncode == 0
    assert ready_clone.python_starts.read_text(encoding="utf-8") == starts_before
    assert not trace.exists()
    assert ready_clone.run("python3", "-c", "", PYTHONPATH="").returncode == 0
    assert trace.exists()


def test_a_new_lock_file_recreates_the_environment(clone: Clone) -> None:
    clone.run()
    (clone.venv / "old").touch()
    (clone.root / "requirements.lock").write_text("# other packages\n", encoding="utf-8")
    assert CREATING in clone.run().stderr
    assert not (clone.venv / "old").exists()
    assert clone.run("bash", "-c", "exit 0").stderr == ""


def test_another_python_recreates_the_environment(clone: Clone) -> None:
    clone.run()
    clone.add_python("other-python")
    assert CREATING in clone.run(OPENSEES_HPC_PYTHON="other-python").stderr
    assert CREATING not in clone.run(OPENSEES_HPC_PYTHON="other-python").stderr
    assert CREATING not in clone.run().stderr


def test_a_python_that_was_removed_recreates_the_environment(clone: Clone) -> None:
    clone.run()
    for link in clone.venv.glob("bin/python*"):
        link.unlink()
        link.symlink_to("/no/such/python")
    assert CREATING in clone.run().stderr


def test_moving_the_clone_recreates_the_environment(clone: Clone) -> None:
    clone.run()
    moved = Clone(root=clone.root.with_name("moved"), tools=clone.tools, cache=clone.cache)
    clone.root.rename(moved.root)
    assert CREATING in moved.run().stderr


def test_an_interrupted_installation_is_repaired(clone: Clone) -> None:
    child = clone.start()
    deadline = time.monotonic() + PROMPT_S
    while not clone.venv.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=PROMPT_S)
    assert clone.venv.exists()
    done = clone.run("python3", "-c", "import runner.errors")
    assert done.returncode == 0, done.stderr
    assert CREATING in done.stderr
    assert clone.run("bash", "-c", "exit 0").stderr == ""


def test_two_at_the_same_time_create_it_once(clone: Clone) -> None:
    children = [clone.start("python3", "-c", "import runner.errors") for _ in range(2)]
    errors = [child.communicate(timeout=PROMPT_S)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    assert "".join(errors).count(CREATING) == 1


def test_looks_again_when_pulumi_is_gone_or_newer(clone: Clone) -> None:
    clone.run()
    (clone.tools / "pulumi").unlink()
    assert clone.run().returncode == 3
    clone.add_pulumi("3.240.0")
    assert clone.run("pulumi", "version").stdout == "v3.240.0\n"


def test_takes_pulumi_from_the_cache(bare_clone: Clone) -> None:
    bare_clone.add_python()
    bare_clone.add_uv()
    bare_clone.add_pulumi("3.230.0")
    folder = bare_clone.cache / "pulumi" / "3.230.0" / "bin"
    folder.mkdir(parents=True)
    for name in ("pulumi", "pulumi-language-python"):
        (bare_clone.tools / name).rename(folder / name)
    done = bare_clone.run("bash", "-c", "command -v pulumi")
    assert done.stdout.strip() == str(folder / "pulumi")
