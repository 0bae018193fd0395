"""The build scripts: the files that they install, repeated runs, the errors that they detect, and the plan of the recipe `full`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.needs import need
from tests.packer.conftest import RunCommand
from tests.packer.prefix import BAKE, PACKER, copy_prefix, run_script

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def validate(prefix: Path, *, packer: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", packer / "bake" / "validate.sh"],
        env={**os.environ, "OPENSEES_HPC_PREFIX": str(prefix)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_validation_passes_and_prints_the_versions(opensees_prefix: Path, tmp_path: Path) -> None:
    prefix = copy_prefix(opensees_prefix, tmp_path / "prefix")
    lines = run_script("validate.sh", prefix=prefix).splitlines()
    versions = json.loads(lines[-1])
    assert versions["recipe"] == "wheels"
    assert {"mpich", "openseespy", "python", "os", "machine"} <= versions.keys()
    checks = [line for line in lines if line.startswith("ok ")]
    assert len(checks) == 11
    assert json.loads((prefix / "etc" / "versions.json").read_text()) == versions


def test_validation_fails_when_a_digit_is_wrong(opensees_prefix: Path, tmp_path: Path) -> None:
    packer = tmp_path / "packer"
    shutil.copytree(PACKER, packer)
    expected = packer / "models" / "expected.tsv"
    expected.write_text(expected.read_text().replace("0.530092777132284", "0.530092777142284"))
    done = validate(opensees_prefix, packer=packer)
    assert done.returncode == 1
    assert "FAIL truss_ux = 0.53009277713228" in done.stdout
    assert "{" not in done.stdout


def test_validation_fails_when_jobs_could_not_read_a_file(opensees_prefix: Path, tmp_path: Path) -> None:
    prefix = copy_prefix(opensees_prefix, tmp_path / "prefix")
    (prefix / "lib" / "closed.py").touch(mode=0o640)
    done = validate(prefix, packer=PACKER)
    assert done.returncode == 1
    assert f"FAIL not every user can read or run: {prefix}/lib/closed.py\n" in done.stdout


def test_a_strict_umask_leaves_nothing_that_jobs_cannot_read(opensees_prefix: Path, tmp_path: Path) -> None:
    prefix, packer = copy_prefix(opensees_prefix, tmp_path / "prefix"), tmp_path / "packer"
    shutil.copytree(PACKER, packer)
    script = 'chmod -R go= "$1" && umask 077 && rm -rf "$OPENSEES_HPC_PREFIX/etc" && bash "$1/bake/build_opensees_wheels.sh" 2'
    subprocess.run(
        ["bash", "-euc", script, "build", packer],
        env={**os.environ, "OPENSEES_HPC_PREFIX": str(prefix), "OPENSEES_HPC_PYTHON": sys.executable},
        check=True,
    )
    for path in (prefix, *prefix.rglob("*")):
        mode = path.stat().st_mode
        assert mode & 0o004, path
        assert mode & 0o001 or not mode & 0o100, path


def test_a_second_build_keeps_what_is_installed(opensees_prefix: Path, tmp_path: Path) -> None:
    prefix = copy_prefix(opensees_prefix, tmp_path / "prefix")
    marker = prefix / "lib" / "site-packages" / "marker"
    marker.touch()
    run_script("build_opensees_wheels.sh", "2", prefix=prefix, environment={"OPENSEES_HPC_PYTHON": sys.executable})
    assert marker.exists()
    for name in ("bin/openseesmp", "etc/recipe", "lib/opensees_hpc/rank.py"):
        assert (prefix / name).read_bytes() == (opensees_prefix / name).read_bytes()


def test_a_moved_prefix_works(opensees_prefix: Path, tmp_path: Path, run_command: RunCommand) -> None:
    prefix = copy_prefix(opensees_prefix, tmp_path / "else where" / "opt" / "opensees-hpc")
    ended = run_command("openseesmp", "2", str(PACKER / "models" / "mumps.tcl"), prefix=prefix)
    assert ended.exit_code == 0
    assert "CHECK mumps_tip 0.00" in ended.output


def test_a_symbolic_link_to_a_command_finds_the_prefix(
    opensees_prefix: Path, tmp_path: Path, run_command: RunCommand
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "opensees").symlink_to(opensees_prefix / "bin" / "opensees")
    assert run_command("opensees", str(PACKER / "models" / "truss.tcl"), prefix=tmp_path).exit_code == 0


def test_cleanup_removes_only_files_below_the_prefix(tmp_path: Path) -> None:
    prefix, home = tmp_path / "prefix", tmp_path / "home"
    for leftover in ("src/a.c", "build/b.o", "lib/c.log", "lib/keep.py"):
        path = prefix / leftover
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (home / ".cache").mkdir(parents=True)
    run_script("cleanup.sh", prefix=prefix, environment={"HOME": str(home)})
    assert [path.name for path in prefix.rglob("*") if path.is_file()] == ["keep.py"]
    assert (home / ".cache").is_dir()


def test_every_package_of_the_lock_is_pinned_by_hash() -> None:
    lock = (BAKE / "wheels" / "requirements.lock").read_text()
    packages = re.split(r"\n(?=[a-z0-9])", lock)
    assert len(packages) > 20
    assert all("==" in package and HASH.search(package) for package in packages)
    assert "http" not in lock


@pytest.mark.parametrize("script", ["build_opensees_wheels.sh", "build_opensees_full.sh"])
@pytest.mark.parametrize("cores", ["", "0", "-1", "two"])
def test_the_number_of_cores_is_checked(script: str, cores: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", BAKE / script, cores],
        env={**os.environ, "OPENSEES_HPC_PREFIX": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"usage: sudo bash {script} N" in done.stderr


BASICS = ("awk", "find", "gzip", "sed", "tar")
OTHERS = ("bash", "dirname", "uname", "tr", "id", "sha256sum", "cut", "cat")


def build_with(
    folder: Path, *arguments: str, tools: Sequence[str], packer: Path = PACKER, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the recipe with a PATH of these tools, and others that a test has added."""
    path = folder / "tools"
    path.mkdir(exist_ok=True)
    for name in tools:
        (path / name).symlink_to(str(shutil.which(name)))
    return subprocess.run(
        ["bash", packer / "bake" / "build_opensees_wheels.sh", "1", *arguments],
        env={"PATH": str(path), "OPENSEES_HPC_PREFIX": str(folder / "prefix"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def write_python(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("arguments", [(), ("check",)], ids=["build", "check"])
def test_a_python_without_tcl_is_rejected_with_a_remedy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write_python(tmp_path / "tools" / "python3", 'echo "has no Tcl (_tkinter)"')
    done = build_with(tmp_path, *arguments, tools=(*BASICS, *OTHERS))
    assert done.returncode == 1
    assert "python3 has no Tcl (_tkinter)\n" in done.stderr
    assert "no usable Python: install python3" in done.stderr
    assert not (tmp_path / "prefix").exists()


@pytest.mark.parametrize("arguments", [(), ("check",)], ids=["build", "check"])
def test_missing_programs_are_reported_at_once(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = build_with(tmp_path, *arguments, tools=("gzip", "sed", "tar", *OTHERS))
    assert done.returncode == 1
    assert "not on PATH: awk find; install the packages that have them" in done.stderr
    assert not (tmp_path / "prefix").exists()


def test_a_check_that_finds_everything_prints_and_does_nothing(tmp_path: Path) -> None:
    need("tcl")
    done = build_with(tmp_path, "check", tools=(*BASICS, *OTHERS), OPENSEES_HPC_PYTHON=sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "prefix").exists()


def make_wheel(folder: Path) -> str:
    """Create a package of one module in ``folder``; return its line for a lock file."""
    info = "tiny-1.0.dist-info"
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    folder.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"tiny==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def test_the_pip_of_an_environment_is_used_for_a_python_without_pip(tmp_path: Path) -> None:
    """On a Debian with python3-venv only, the image is for the system's Python, which has no pip."""
    need("tcl")
    packer, real = tmp_path / "packer", sys.executable
    shutil.copytree(PACKER, packer)
    (packer / "bake" / "wheels" / "requirements.lock").write_text(make_wheel(tmp_path / "wheels"))
    no_pip = f"""case "$*" in *"-m pip"*) echo "No module named pip" >&2; exit 1 ;; esac\nexec "{real}" "$@\""""
    system = write_python(tmp_path / "system" / "python3", no_pip)
    write_python(
        tmp_path / "tools" / "python3",
        f"""case "$*" in *_base_executable*) echo "{system}" ;; *) exec "{real}" "$@" ;; esac""",
    )
    tools = (*BASICS, *OTHERS, "chmod", "cp", "ln", "mkdir", "mv", "rm")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    done = build_with(tmp_path, tools=tools, packer=packer, **offline)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "prefix" / "lib" / "site-packages" / "tiny.py").exists()
    assert (tmp_path / "prefix" / "etc" / "python-path").read_text() == f"{system}\n"


@pytest.mark.parametrize(
    ("system", "package"),
    [
        ("rocky-8.10", "python3.11-tkinter"),
        ("rocky-9.6", "python3.11-tkinter"),
        ("rocky-10.0", "python3-tkinter"),
        ("fedora-42", "python3-tkinter"),
        ("debian-12", "python3-tk"),
    ],
)
def test_the_remedy_names_the_packages_of_the_system(system: str, package: str) -> None:
    script = 'here=$1 system=$2; source "$1/lib/common.sh"; source "$1/lib/python.sh"; read_os() { echo "$system"; }; PATH= find_python'
    done = subprocess.run(
        ["bash", "-euc", script, "find", BAKE, system],
        env={name: value for name, value in os.environ.items() if name != "OPENSEES_HPC_PYTHON"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert package in done.stderr.replace(",", "").split()


def test_the_long_recipe_prints_its_plan_and_does_nothing(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    plan = dict(
        line.split("\t", 1) for line in run_script("build_opensees_full.sh", "4", "plan", prefix=prefix).splitlines()
    )
    assert plan["cores"] == "4"
    assert plan["targets"] == "OpenSees OpenSeesMP OpenSeesPy"
    assert re.search(r"commit:[0-9a-f]{40}$", plan["opensees"])
    for source in ("hdf5", "mumps", "wheels"):
        assert re.search(r"sha256:[0-9a-f]{64}$", plan[source])
    assert tuple(map(int, plan["hdf5"].split()[0].split("."))) >= (1, 12)
    assert not prefix.exists()


def test_the_long_recipe_rejects_any_other_prefix(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", BAKE / "build_opensees_full.sh", "4"],
        env={**os.environ, "OPENSEES_HPC_PREFIX": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "compiling needs root" in done.stderr


def test_a_download_with_another_checksum_is_rejected(tmp_path: Path) -> None:
    need("curl")
    (tmp_path / "source").write_text("not what was pinned")
    script = 'here=$1; source "$1/lib/common.sh"; fetch_verified "file://$2/source" "$3" "$2/got"'
    done = subprocess.run(
        ["bash", "-euc", script, "fetch", BAKE, tmp_path, "0" * 64], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "checksum of" in done.stderr
