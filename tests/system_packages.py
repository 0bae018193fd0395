"""What the tests need from the operating system, and what they leave out without it. Standard library only.

``python -m tests.system_packages`` says what is missing; with ``--install`` it installs that where it may.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
APT_TIMEOUT_S = 900
SSHD_TESTS = ("tests/contract/test_script_jobs.py", "tests/hardware")
REPOSITORY_TESTS = ("tests/test_repository.py",)


@dataclass(frozen=True, kw_only=True)
class MissingPackage:
    """``debian``: the package that has it, empty if no package can help. ``leaves_out``: test files and folders."""

    name: str
    debian: str
    why: str
    leaves_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Requirement:
    package: MissingPackage
    is_there: Callable[[], bool]


def find_program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PROGRAMS}") is not None


def has_tcl() -> bool:
    return importlib.util.find_spec("_tkinter") is not None


def name_tcl_package() -> str:
    """Only the system's own Python gets its Tcl from a package."""
    if sys.base_prefix != "/usr":
        return ""
    major, minor = sys.version_info[:2]
    is_default = os.path.realpath("/usr/bin/python3") == f"/usr/bin/python{major}.{minor}"
    return "python3-tk" if is_default else f"python{major}.{minor}-tk"


def require_program(name: str, *, debian: str, why: str, leaves_out: tuple[str, ...] = ()) -> Requirement:
    package = MissingPackage(name=name, debian=debian, why=why, leaves_out=leaves_out)
    return Requirement(package=package, is_there=find_program(name))


def list_requirements() -> list[Requirement]:
    tcl = MissingPackage(
        name=f"_tkinter for {sys.executable}",
        debian=name_tcl_package(),
        why="OpenSees models in Tcl run in the Tcl interpreter that Python brings",
        leaves_out=("tests/jobs", "tests/packer", "tests/e2e"),
    )
    return [
        Requirement(package=tcl, is_there=has_tcl),
        require_program("git", debian="git", why="the checks of the whole repository", leaves_out=REPOSITORY_TESTS),
        require_program("ssh", debian="openssh-client", why="OpenSSH as a client of emulated instances"),
        require_program(
            "sshd", debian="openssh-server", why="a real SSH server beside the emulated ones", leaves_out=SSHD_TESTS
        ),
        require_program("pkill", debian="procps", why="looking at and ending processes on an instance"),
        require_program("dash", debian="dash", why="a second shell for the scripts that run on any VM"),
        require_program("busybox", debian="busybox", why="a third shell for the scripts that run on any VM"),
        require_program(
            "zsh", debian="zsh", why="sourcing bootstrap from zsh", leaves_out=("tests/bootstrap/test_zsh.py",)
        ),
    ]


def missing_packages() -> list[MissingPackage]:
    importlib.invalidate_caches()
    return [requirement.package for requirement in list_requirements() if not requirement.is_there()]


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(missing: Sequence[MissingPackage]) -> list[MissingPackage]:
    """Install with apt-get where that is possible without asking anyone, and return what is missing still."""
    packages = sorted({package.debian for package in missing if package.debian})
    if packages and may_install():
        tell(f"installing {' '.join(packages)}")
        if not (run_apt("install", *packages) or (run_apt("update") and run_apt("install", *packages))):
            tell("apt-get could not install all of them")
    return missing_packages()


def run_apt(verb: str, *packages: str) -> bool:
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", verb, *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, stdout=sys.stderr, timeout=APT_TIMEOUT_S, check=False)
    return done.returncode == 0


def describe_missing(missing: Sequence[MissingPackage]) -> list[str]:
    """A line for each: what, what for, how to get it, what is left out."""
    lines = []
    for package in missing:
        remedy = f"sudo apt-get install {package.debian}" if package.debian else "use a Python that has it"
        left_out = f"; leaves out {', '.join(package.leaves_out)}" if package.leaves_out else ""
        lines.append(f"missing: {package.name} ({package.why}): {remedy}{left_out}")
    return lines


def ignore_options(missing: Sequence[MissingPackage]) -> list[str]:
    """What makes pytest leave out the tests that cannot run."""
    return [f"--ignore={path}" for package in missing for path in package.leaves_out]


def prepare() -> list[str]:
    """Install what is missing where that is possible, say what is not there, and return options for pytest."""
    missing = missing_packages()
    if missing:
        missing = install(missing)
    for line in describe_missing(missing):
        tell(line)
    return ignore_options(missing)


def tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def main() -> int:
    if "--install" in sys.argv[1:]:
        prepare()
        return int(bool(missing_packages()))
    missing = missing_packages()
    for line in describe_missing(missing):
        tell(line)
    return int(bool(missing))


if __name__ == "__main__":
    raise SystemExit(main())
