"""Checks that this computer has the programs that a bake on the embedded cloud needs. The recipes themselves list them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from runner.bake import RECIPES
from runner.errors import MissingToolError

CHECK_LIMIT_S = 60.0
# Not the prefix of the image: a bake on the embedded cloud changes nothing on this computer.
GUEST_PREFIX = "/opt/opensees-hpc-guest"


def check_bake_host(packer: Path, recipe: str, environment: Mapping[str, str]) -> None:
    """Run the check of the recipe, in the environment of an emulated instance.

    Raises:
        MissingToolError: the message has what the recipe finds missing.
    """
    script = RECIPES[recipe]
    try:
        done = subprocess.run(  # noqa: S603
            ["bash", str(packer / "bake" / script), "1", "check"],  # noqa: S607
            env=_guest_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=CHECK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingToolError(f"{script} cannot be run: {error}", remedy="install bash") from error
    if done.returncode != 0:
        raise MissingToolError(
            f"an image cannot be baked on this computer, whose programs the embedded cloud uses:\n{done.stderr.strip()}",
            remedy="install what is listed above, then run the same command again",
        )


def _guest_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with our own Python first on PATH, as on an emulated instance: it has pip, which the system's Python may lack."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return {**environment, "PATH": path, "OPENSEES_HPC_PREFIX": GUEST_PREFIX}
