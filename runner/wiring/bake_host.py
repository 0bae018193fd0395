"""Whether this machine has what a bake on the embedded cloud takes from it. The recipes themselves know what that is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from runner.commands.build import RECIPES
from runner.errors import MissingToolError

CHECK_LIMIT_S = 60.0
GUEST_PREFIX = (
    "/opt/opensees-hpc-guest"  # not the image's own: nobody's system is changed by a bake on the embedded cloud
)


def check_bake_host(packer: Path, recipe: str, environment: Mapping[str, str]) -> None:
    """Ask the recipe, in an environment as an emulated instance has it.

    Raises:
        MissingToolError: what is missing, in the recipe's words.
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
            f"an image cannot be baked on this machine, whose programs the embedded cloud uses:\n{done.stderr.strip()}",
            remedy="install what is named above, then run the same command again",
        )


def _guest_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Our own Python first on PATH, as on an emulated instance: it has the pip that the system's may lack."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return {**environment, "PATH": path, "OPENSEES_HPC_PREFIX": GUEST_PREFIX}
