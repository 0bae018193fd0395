"""How this host reaches packages, modules and names, for a fresh system in it: variables, files, folders, settings of APT.

Nothing is known here of any mirror or proxy: what the host has is handed on.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HANDED_ON = re.compile(
    r"^((PIP|UV)_.*|GO(PROXY|SUMDB|NOSUMDB|NOSUMCHECK|NOPROXY|PRIVATE|INSECURE)|SSL_CERT_(FILE|DIR)"
    r"|(REQUESTS|CURL)_CA_BUNDLE|GIT_SSL_CAINFO|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY)$"
)
OF_THE_HOST_ONLY = {"PIP_CACHE_DIR", "PIP_CONFIG_FILE", "PIP_TARGET", "PIP_USER", "PIP_REQUIRE_VIRTUALENV"}
PIP_SETTING = re.compile(r"^(?:global|install)\.([a-z-]+)=(.*)$")
APT_SETTING = re.compile(r"^Acquire::(https?|Check-[\w-]+|Max-FutureTime|Retries|ForceIPv[46]|Allow\w+)\b.*[^\"]\";$")
FILES = (Path("/etc/resolv.conf"), Path("/etc/hosts"))


@dataclass(frozen=True, kw_only=True)
class Reach:
    """``files`` are copied to the same place, ``folders`` are shown there, ``mirror`` may be empty: Debian's own."""

    variables: Mapping[str, str]
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    apt: str
    mirror: str


def read_reach(environment: Mapping[str, str]) -> Reach:
    """Read them from the host."""
    variables = pick_variables(environment, read_output(sys.executable, "-m", "pip", "config", "list"))
    places = [Path(word) for text in variables.values() for word in text.split() if word.startswith("/")]
    return Reach(
        variables=variables,
        files=(*FILES, *dict.fromkeys(place for place in places if place.is_file())),
        folders=tuple(dict.fromkeys(place for place in places if place.is_dir())),
        apt=pick_apt_settings(read_output("apt-config", "dump", "Acquire")),
        mirror=find_mirror(),
    )


def pick_variables(environment: Mapping[str, str], pip_settings: str) -> dict[str, str]:
    """Return the variables with package sources; settings in pip's files as the variables that mean the same."""
    found = {}
    for line in pip_settings.splitlines():
        if setting := PIP_SETTING.match(line):
            found[f"PIP_{setting[1].upper().replace('-', '_')}"] = " ".join(str(ast.literal_eval(setting[2])).split())
    found |= {name: value for name, value in environment.items() if HANDED_ON.match(name)}
    return {name: value for name, value in found.items() if name not in OF_THE_HOST_ONLY}


def pick_apt_settings(dump: str) -> str:
    """Return APT's settings about package sources that have a value; APT reads its own dump."""
    return "".join(f"{line}\n" for line in dump.splitlines() if APT_SETTING.match(line))


def find_mirror() -> str:
    """Return the mirror of this host if it runs Debian; empty: debootstrap's default."""
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    if not re.search(r"^ID=debian$", release, flags=re.MULTILINE):
        return ""
    sites = read_output("apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages")
    return next((line.split()[0] for line in sites.splitlines() if line.endswith(" Debian Debian")), "")


def read_output(*command: str) -> str:
    """Return its output, empty if there is no such command or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
