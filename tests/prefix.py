"""The fixture ``opensees_prefix``: OpenSees as an image has it, for tests that run models. Import it into a conftest.

Made once by ``packer/bake/build_opensees_wheels.sh`` in the user's cache, under the hash of what goes into it; workers of one run
and runs at the same time wait for each other.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import pytest

from runner.system.file_lock import FileLock
from tests.needs import need

PACKER = Path(__file__).parents[1] / "packer"
INGREDIENTS = ("bake/build_opensees_wheels.sh", "bake/lib", "bake/wheels", "vm")
KEEP_UNUSED_S = 7 * 24 * 3600.0
BUILD_LIMIT_S = 540.0


@pytest.fixture(scope="session")
def opensees_prefix() -> Path:
    """A prefix with ``bin/openseesmp``, ``bin/opensees`` and ``bin/openseespy``. Read only: it is shared."""
    need("tcl")
    cache = platformdirs.user_cache_path("opensees-hpc") / "test-prefixes"
    cache.mkdir(parents=True, exist_ok=True)
    prefix = cache / _hash_ingredients()
    with _locked(cache / "lock"):
        if not prefix.exists():
            _build(prefix)
        os.utime(prefix)
        _drop_unused(cache)
    return prefix


def _hash_ingredients() -> str:
    """Contents, names and modes of everything that the build reads, and the Python that it is for."""
    digest = hashlib.sha256(sys.version.encode() + sys.platform.encode())
    for path in sorted(path for name in INGREDIENTS for path in (PACKER / name, *(PACKER / name).rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(PACKER)} {path.stat().st_mode & 0o111:o}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _build(prefix: Path) -> None:
    """Build beside the final name, then rename: a prefix that is there is whole (and may move)."""
    unfinished = prefix.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    done = subprocess.run(
        ["bash", str(PACKER / "bake" / "build_opensees_wheels.sh"), "2"],
        env={**os.environ, "OPENSEES_HPC_PREFIX": str(unfinished), "OPENSEES_HPC_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"build_opensees_wheels.sh: exit code {done.returncode}\n{done.stdout[-4000:]}")
    unfinished.rename(prefix)


def _drop_unused(cache: Path) -> None:
    oldest = time.time() - KEEP_UNUSED_S
    for folder in cache.iterdir():
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with FileLock.of_file(file) as lock:
        lock.acquire()
        yield
