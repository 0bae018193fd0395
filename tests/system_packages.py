"""What the tests need from the operating system beside Python, git aside. Standard library only.

``python -m tests.system_packages`` says what is missing; with ``--install`` it installs that where it may. A test without
what it needs is skipped: see ``tests.needs``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
APT_TIMEOUT_S = 900


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """``name`` is what tests ask for. ``debian``: the package that has it, empty if no package can help."""

    name: str
    debian: str
    why: str
    is_there: Callable[[], bool]

    def describe(self) -> str:
        """What is missing, what for, how to get it."""
        remedy = f"sudo apt-get install {self.debian}" if self.debian else "use a machine or a Python that has it"
        return f"{self.name} is missing ({self.why}): {remedy}"


def find_program(name: str) -> str | None:
    """Where a program is, also one that only root has on PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PROGRAMS}")


def has_tcl() -> bool:
    return importlib.util.find_spec("_tkinter") is not None


def has_ensurepip() -> bool:
    return importlib.util.find_spec("ensurepip") is not None


def has_terminals() -> bool:
    """Whether this process may have pseudo-terminals: a container or a chroot may lack /dev/pts."""
    try:
        ours, theirs = os.openpty()
    except OSError:
        return False
    os.close(ours)
    os.close(theirs)
    return True


def name_package(part: str) -> str:
    """Only the system's own Python gets its parts from packages."""
    if sys.base_prefix != "/usr":
        return ""
    major, minor = sys.version_info[:2]
    is_default = os.path.realpath("/usr/bin/python3") == f"/usr/bin/python{major}.{minor}"
    return f"python3-{part}" if is_default else f"python{major}.{minor}-{part}"


def require_program(name: str, *, debian: str, why: str) -> Requirement:
    return Requirement(name=name, debian=debian, why=why, is_there=lambda: find_program(name) is not None)


def list_requirements() -> list[Requirement]:
    return [
        Requirement(
            name="tcl",
            debian=name_package("tk"),
            why=f"the module _tkinter of {sys.executable}, in whose Tcl interpreter OpenSees models run",
            is_there=has_tcl,
        ),
        Requirement(
            name="ensurepip",
            debian=name_package("venv"),
            why="an environment made with nothing but Python",
            is_there=has_ensurepip,
        ),
        Requirement(name="pty", debian="", why="pseudo-terminals: /dev/ptmx and /dev/pts", is_there=has_terminals),
        require_program("git", debian="git", why="the checks of the whole repository"),
        require_program("ssh", debian="openssh-client", why="OpenSSH as a client of instances"),
        require_program("sshd", debian="openssh-server", why="a real SSH server beside the emulated ones"),
        require_program("curl", debian="curl", why="downloads of the recipe full"),
        require_program("dash", debian="dash", why="a second shell for the scripts that run on any VM"),
        require_program("busybox", debian="busybox", why="a third shell for the scripts that run on any VM"),
        require_program("zsh", debian="zsh", why="sourcing bootstrap from zsh"),
    ]


def missing_requirements() -> list[Requirement]:
    importlib.invalidate_caches()
    return [requirement for requirement in list_requirements() if not requirement.is_there()]


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(missing: Sequence[Requirement]) -> list[Requirement]:
    """Install with apt-get where that is possible without asking anyone, and return what is missing still."""
    packages = sorted({requirement.debian for requirement in missing if requirement.debian})
    if packages and may_install():
        tell(f"installing {' '.join(packages)}")
        if not (run_apt("install", *packages) or (run_apt("update") and run_apt("install", *packages))):
            tell("apt-get could not install all of them")
    return missing_requirements()


def run_apt(verb: str, *packages: str) -> bool:
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", verb, *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, stdout=sys.stderr, timeout=APT_TIMEOUT_S, check=False)
    return done.returncode == 0


def describe_missing(missing: Sequence[Requirement]) -> list[str]:
    """A line for each, and what that means for the tests."""
    lines = [requirement.describe() for requirement in missing]
    if missing:
        lines.append("exactly the tests that need these will be skipped; each says which at the end")
    return lines


def prepare() -> list[str]:
    """Install what is missing where that is possible, say what is not there, and return options for pytest: on a machine
    that has everything, a test that is skipped is a failure."""
    missing = missing_requirements()
    if missing:
        missing = install(missing)
    for line in describe_missing(missing):
        tell(line)
    return [] if missing else ["--skip-nothing"]


def tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def main() -> int:
    missing = missing_requirements()
    if "--install" in sys.argv[1:]:
        missing = install(missing)
    for line in describe_missing(missing):
        tell(line)
    return int(bool(missing))


if __name__ == "__main__":
    raise SystemExit(main())
