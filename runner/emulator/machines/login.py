"""The home, environment and ``sudo`` rights of an instance's users, as OS Login and a login shell provide them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.emulator.machines.interface import LoginUser, MachineSpec

PREFIX = "opt/opensees-hpc"
PREFIX_VARIABLE = "OPENSEES_HPC_PREFIX"
SHELLS = (Path("/bin/bash"), Path("/bin/sh"))
LANG = "C.UTF-8"


@dataclass(frozen=True, kw_only=True)
class GuestSettings:
    """The settings of an instance's processes: the emulator's URL, the metadata server's ``host:port``, variables of the host."""

    spec: MachineSpec
    url: str
    metadata_host: str
    from_host: Mapping[str, str] = field(default_factory=dict)


def marker(root: Path) -> str:
    """Return the environment variable (``NAME=value``) that all processes of this root have, and no others."""
    return f"{PREFIX_VARIABLE}={root / PREFIX}"


def find_shell() -> Path:
    """Find the login shell."""
    return next(shell for shell in SHELLS if shell.exists())


def home_of(root: Path, username: str) -> Path:
    """Return the home folder of a user."""
    return root / "root" if username == "root" else root / "home" / username


def make_home(root: Path, username: str) -> Path:
    """Create a home from ``etc/skel`` (if the disk has one) if there is none yet, as the first login does."""
    home, skeleton = home_of(root, username), root / "etc/skel"
    if not (home / ".bash_profile").exists():
        home.mkdir(parents=True, exist_ok=True)
        if skeleton.is_dir():
            shutil.copytree(skeleton, home, dirs_exist_ok=True)
        home.chmod(0o700)
    return home


def grant_sudo(root: Path, user: LoginUser) -> None:
    """Update OS Login's list of users who may use ``sudo``: one file each."""
    grant = root / "var/google-sudoers.d" / user.username
    if user.sudo:
        grant.parent.mkdir(parents=True, exist_ok=True)
        grant.write_text(f"{user.username} ALL=(ALL) NOPASSWD: ALL\n")
    else:
        grant.unlink(missing_ok=True)


def host_path() -> list[str]:
    """Return the host's PATH with our own Python first: the system's may lack pip, which a bake needs. ``bootstrap`` does the same."""
    own = str(Path(sys.executable).parent)
    return [own, *(folder for folder in os.get_exec_path() if folder != own)]


def login_environment(settings: GuestSettings, username: str, more: Mapping[str, str]) -> dict[str, str]:
    """Build the whole environment of a user's process. Only the end of PATH comes from the emulator's own environment."""
    spec = settings.spec
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
        "GCE_METADATA_HOST": settings.metadata_host,
        "GCE_METADATA_IP": settings.metadata_host,
        "STORAGE_EMULATOR_HOST": settings.url,
        # The variable that sets gcloud's Compute endpoint.
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{settings.url}/compute/v1/",
        **settings.from_host,
        **more,
    }
