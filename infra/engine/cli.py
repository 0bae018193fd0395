"""The Pulumi CLI: where it is looked for, and how it is downloaded or built.

Each source is a function that returns an ``Engine`` or raises ``MissingToolError`` with its reason. The cache holds one
folder a version, moved there whole, so what is in it is complete; a lock keeps two processes from making it at once.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.engine.build import build_programs
from infra.engine.pins import Pins, Version, parse_version
from infra.engine.process import exclusive_lock, read_output, report
from runner.errors import MissingToolError

PULUMI = "pulumi"
LANGUAGE_HOST = "pulumi-language-python"
DOWNLOAD_SILENCE_S = 20
INSTALL_PAGE = "https://www.pulumi.com/docs/iac/download-install/"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Pulumi CLI with its Python language host; ``folders`` belong on PATH, after the environment's own."""

    version: Version
    folders: tuple[Path, ...]

    @property
    def pulumi(self) -> Path:
        return self.folders[0] / PULUMI


@dataclass(frozen=True, kw_only=True)
class Request:
    """``cache``: the user's cache folder of this project, which may not exist yet."""

    pins: Pins
    cache: Path
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The folder of the pinned version, if we installed it."""
        return self.cache / PULUMI / str(self.pins.version)


Source = Callable[[Request], Engine]


def default_cache() -> Path:
    """Return the user's cache folder of this project, where the operating system keeps such folders."""
    from platformdirs import user_cache_path

    return user_cache_path("opensees-hpc")


def cache_of(environment: Mapping[str, str]) -> Path:
    """Return the cache folder that the environment names, else the user's."""
    named = environment.get("OPENSEES_HPC_CACHE")
    return Path(named) if named else default_cache()


def find_engine(request: Request) -> Engine:
    """Return an engine that is already installed, on PATH or in the cache; download nothing, but run a few processes."""
    return _try_sources(request, (find_on_path, find_in_cache))


def ensure_engine(request: Request) -> Engine:
    """Return an engine; download or build it if necessary, which takes minutes, with progress on standard error.

    Raises:
        MissingToolError: no source had one; the message has the reason for each.
    """
    try:
        return find_engine(request)
    except MissingToolError as missing:
        absence = missing.message
    _make_folder(request.cache / PULUMI)
    with exclusive_lock(request.cache / PULUMI / "lock", waiting_for="is installing the Pulumi CLI"):
        try:
            return _try_sources(request, (find_in_cache, download_engine, build_engine))
        except MissingToolError as failure:
            reasons = "\n".join(dict.fromkeys(f"{absence}\n{failure.message}".splitlines()))
            raise MissingToolError(
                f"no Pulumi CLI {request.pins.oldest} or newer (below {request.pins.below}) is available:\n{reasons}",
                remedy=f"install Pulumi as {INSTALL_PAGE} says, or Go {request.pins.oldest_go} or newer, "
                "or fix a problem listed above, then run the same command again",
            ) from failure


def _try_sources(request: Request, sources: tuple[Source, ...]) -> Engine:
    reasons = []
    for source in sources:
        try:
            return source(request)
        except MissingToolError as error:
            reasons.append(f"  - {error.message}")
    raise MissingToolError("\n".join(reasons))


def find_on_path(request: Request) -> Engine:
    pulumi = _which(PULUMI, request)
    version = _read_version(pulumi, request)
    if not request.pins.accepts(version):
        wanted = f"{request.pins.oldest} or newer, below {request.pins.below}"
        raise MissingToolError(f"on PATH: {pulumi} is version {version}, required is {wanted}")
    beside = pulumi.parent / LANGUAGE_HOST
    host = beside if os.access(beside, os.X_OK) else _which(LANGUAGE_HOST, request)
    return Engine(version=version, folders=tuple(dict.fromkeys((pulumi.parent, host.parent))))


def _which(program: str, request: Request) -> Path:
    found = shutil.which(program, path=request.environment.get("PATH"))
    if found is None:
        raise MissingToolError(f"on PATH: there is no {program}")
    return Path(found).absolute()


def find_in_cache(request: Request) -> Engine:
    return _take_engine(request.home / "bin", request, source="in the cache")


def _take_engine(folder: Path, request: Request, *, source: str) -> Engine:
    for program in (PULUMI, LANGUAGE_HOST):
        if not os.access(folder / program, os.X_OK):
            raise MissingToolError(f"{source}: {folder / program} does not exist")
    version = _read_version(folder / PULUMI, request)
    if version != request.pins.version:
        raise MissingToolError(f"{source}: {folder / PULUMI} is version {version}, required is {request.pins.version}")
    return Engine(version=version, folders=(folder,))


def _read_version(pulumi: Path, request: Request) -> Version:
    environment = {**request.environment, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    version = parse_version(read_output((str(pulumi), "version"), environment=environment) or "")
    if version is None:
        raise MissingToolError(f"{pulumi} does not report its version: it is broken, or built for another platform")
    return version


def download_engine(request: Request) -> Engine:
    """Return the CLI that Pulumi's own installer downloads; needs the network."""
    report(f"downloading Pulumi {request.pins.version}")
    with _staging(request) as staging:
        try:
            _run_installer(staging, request.pins.version)
        except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
            report(f"  not possible here: {_explain(error)}")
            raise MissingToolError(f"download: {_explain(error)}") from error
        _take_engine(staging / "bin", request, source="download")
        return _publish(staging, request)


def _run_installer(staging: Path, version: Version) -> None:
    from pulumi.automation import PulumiCommand
    from semver import VersionInfo

    socket.setdefaulttimeout(DOWNLOAD_SILENCE_S)
    PulumiCommand.install(root=str(staging), version=VersionInfo(*version))


def _explain(error: Exception) -> str:
    output = getattr(error, "output", None)
    tail = output.decode("utf-8", errors="replace").strip().splitlines()[-5:] if isinstance(output, bytes) else []
    return "\n    ".join([str(error), *tail])


def build_engine(request: Request) -> Engine:
    """Built from Go modules, through whatever module proxy the user has set up."""
    with _staging(request) as staging:
        folder = staging / "bin"
        folder.mkdir()
        build_programs(folder, pins=request.pins, cache=request.cache, environment=request.environment)
        _take_engine(folder, request, source="build")
        return _publish(staging, request)


@contextmanager
def _staging(request: Request) -> Iterator[Path]:
    """Yield a staging folder beside its final place. Other staging folders there were left by a crash, as the lock is held."""
    for left in request.home.parent.glob(".staging-*"):
        shutil.rmtree(left)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=request.home.parent))
    try:
        staging.chmod(0o755)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, request: Request) -> Engine:
    if request.home.exists():
        shutil.rmtree(request.home)
    staging.rename(request.home)
    return find_in_cache(request)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingToolError(
            f"the cache folder {folder} cannot be created: {error.strerror}",
            remedy="name another one: OPENSEES_HPC_CACHE=…",
        ) from error
