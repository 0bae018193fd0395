"""A minimal Debian in a folder, and commands in it: the smallest system that somebody can install.

It needs root, ``debootstrap``, and the right to mount. Processes in it see no other process; the network is the host's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.errors import MissingToolError
from tests.fresh.host import Reach

RELEASE = "bookworm"  # with the oldest Python that is supported
USER = "newcomer"
CLONE = f"/home/{USER}/opensees-hpc"
CACHE = "/var/cache/opensees-hpc"  # seen there if the host's is lent
ENTER = Path(__file__).with_name("enter.sh")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"


@dataclass(frozen=True, kw_only=True)
class FreshSystem:
    """``engine``: a folder of the host with Pulumi CLIs as ``bootstrap`` keeps them, or None: it has to install its own."""

    root: Path
    reach: Reach
    engine: Path | None

    def run(self, command: str) -> int:
        """Type a line of shell at a terminal in the newcomer's home, confirm what it asks, and return its exit code.

        Its output goes where ours goes.
        """
        typed = f"printf 'y\\n' | script --quiet --return --command {shlex.quote(command)} /dev/null"
        lent = [] if self.engine is None else [(self.engine, f"{CACHE}/pulumi")]
        cache = {} if self.engine is None else {"OPENSEES_HPC_CACHE": CACHE}
        shown = [*((folder, str(folder)) for folder in self.reach.folders), *lent]
        return self._enter(USER, typed, shown=shown, variables=cache)

    def administer(self, command: str) -> None:
        """Run a line of shell as root. The host's folders are not shown, as packages may install files in the same places.

        Raises:
            MissingToolError: it failed: as a rule because packages cannot be had.
        """
        if code := self._enter("root", command, shown=(), variables={"DEBIAN_FRONTEND": "noninteractive"}):
            raise MissingToolError(f"on the fresh system `{command}` ended with {code}")

    def _enter(
        self, user: str, command: str, *, shown: Sequence[tuple[Path, str]], variables: Mapping[str, str]
    ) -> int:
        shows = [word for host, guest in shown for word in ("--show", str(host), guest)]
        all_variables = {**self.reach.variables, **home_variables(user), **variables}
        assigned = [f"{name}={value}" for name, value in all_variables.items()]
        line = [*NAMESPACES, str(ENTER), str(self.root), user, *shows, "--", *assigned, "sh", "-c", f"cd; {command}"]
        return subprocess.run(line, check=False).returncode


def home_variables(user: str) -> Mapping[str, str]:
    """Return the environment of a login."""
    is_root = user == "root"
    home, path = ("/root", SYSTEM_PATH) if is_root else (f"/home/{user}", USER_PATH)
    return {"HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "PATH": path, "LANG": "C.UTF-8"}


@contextmanager
def fresh_system(
    clone_of: Path, packages: Sequence[str], *, reach: Reach, engine: Path | None
) -> Iterator[FreshSystem]:
    """Yield a system with these packages, nothing that they recommend, and an ordinary user who has cloned the repository.

    Raises:
        MissingToolError: it cannot be set up here.
    """
    check_host()
    with tempfile.TemporaryDirectory(prefix="opensees-hpc-fresh-", ignore_cleanup_errors=True) as folder:
        system = FreshSystem(root=Path(folder) / "root", reach=reach, engine=engine)
        make_system(system.root, mirror=reach.mirror)
        hand_on(reach, system.root)
        system.administer("apt-get -qq update")
        system.administer(f"apt-get -qq -y --no-install-recommends install {' '.join(packages)}")
        hand_on(reach, system.root)  # once more: a package installs certificates of its own
        system.administer(f"useradd --create-home --shell /bin/bash {USER}")
        clone_repository(clone_of, system)
        yield system


def check_host() -> None:
    """
    Raises:
        MissingToolError: not root, no debootstrap, or no right to mount.
    """
    if os.geteuid() != 0:
        raise MissingToolError("a fresh system can only be set up by root", remedy="run it as root")
    if shutil.which("debootstrap") is None:
        raise MissingToolError("debootstrap is missing", remedy="apt-get install debootstrap")
    if subprocess.run([*NAMESPACES, "true"], check=False).returncode != 0:
        raise MissingToolError("this computer does not allow mounts", remedy="run it where root has CAP_SYS_ADMIN")


def make_system(root: Path, *, mirror: str) -> None:
    """
    Raises:
        MissingToolError: debootstrap failed; the end of what it said.
    """
    command = [*NAMESPACES, "debootstrap", "--variant=minbase", RELEASE, str(root), *([mirror] if mirror else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise MissingToolError(f"debootstrap ended with {done.returncode}:\n{done.stdout[-2000:]}")


def hand_on(reach: Reach, root: Path) -> None:
    """Copy the host's files to the same places, and its settings of APT among the system's."""
    for file in reach.files:
        target = root / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(file, target)
    (root / "etc/apt/apt.conf.d/90-of-the-host").write_text(reach.apt, encoding="utf-8")


def clone_repository(source: Path, system: FreshSystem) -> None:
    """What is committed, as the user's own."""
    target = system.root / CLONE.removeprefix("/")
    git = ["git", "-c", "safe.directory=*"]
    subprocess.run([*git, "clone", "--quiet", "--no-hardlinks", str(source), str(target)], check=True)
    system.administer(f"chown -R {USER}:{USER} {CLONE}")
