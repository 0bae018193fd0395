"""Who a process on an instance is: its home, its environment, its right to ``sudo``. As OS Login and a login shell would have it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.emulator.machines.seam import LoginUser, MachineSpec

PREFIX = "opt/opensees-hpc"
PREFIX_VARIABLE = "OPENSEES_HPC_PREFIX"
SHELLS = (Path("/bin/bash"), Path("/bin/sh"))
LANG = "C.UTF-8"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an instance's processes must know: the emulator's URL, the metadata server's ``host:port``, and variables of the host."""

    spec: MachineSpec
    url: str
    metadata_host: str
    from_host: Mapping[str, str] = field(default_factory=dict)


def marker(root: Path) -> str:
    """The part of the environment that every process of this root has and no other process."""
    return f"{PREFIX_VARIABLE}={root / PREFIX}"


def find_shell() -> Path:
    """The login shell."""
    return next(shell for shell in SHELLS if shell.exists())


def home_of(root: Path, username: str) -> Path:
    """Where someone lives."""
    return root / "root" if username == "root" else root / "home" / username


def make_home(root: Path, username: str) -> Path:
    """Make a home from ``etc/skel`` (if the disk has one) if there is none yet, as the first login does."""
    home, skeleton = home_of(root, username), root / "etc/skel"
    if not (home / ".bash_profile").exists():
        home.mkdir(parents=True, exist_ok=True)
        if skeleton.is_dir():
            shutil.copytree(skeleton, home, dirs_exist_ok=True)
        home.chmod(0o700)
    return home


def grant_sudo(root: Path, user: LoginUser) -> None:
    """Keep OS Login's list of those who may use ``sudo``: a file for each."""
    grant = root / "var/google-sudoers.d" / user.username
    if user.sudo:
        grant.parent.mkdir(parents=True, exist_ok=True)
        grant.write_text(f"{user.username} ALL=(ALL) NOPASSWD: ALL\n")
    else:
        grant.unlink(missing_ok=True)


def host_path() -> list[str]:
    """The host's PATH, our own Python first: the system's may have no pip, which a bake needs. ``bootstrap`` does the same."""
    own = str(Path(sys.executable).parent)
    return [own, *(folder for folder in os.get_exec_path() if folder != own)]


def login_environment(around: Surroundings, username: str, more: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process of ``username``: nothing of the emulator's own but the end of PATH."""
    spec = around.spec
    prefix = spec.root / PREFIX
    path = [prefix / "bin", spec.root / "usr/local/bin", spec.root / "usr/bin", *host_path()]
    return {
        "HOME": str(home_of(spec.root, username)),
        "USER": username,
        "LOGNAME": username,
        "SHELL": str(find_shell()),
        "PATH": os.pathsep.join(map(str, path)),
        "TMPDIR": str(spec.root / "tmp"),
        "LANG": LANG,
        "HOSTNAME": spec.name,
        "OMP_NUM_THREADS": "1",
        PREFIX_VARIABLE: str(prefix),
        "GCE_METADATA_HOST": around.metadata_host,
        "GCE_METADATA_IP": around.metadata_host,
        "STORAGE_EMULATOR_HOST": around.url,
        # The variable by which gcloud is told of another endpoint.
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{around.url}/compute/v1/",
        **around.from_host,
        **more,
    }
