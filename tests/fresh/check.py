"""Runs the README's commands on a fresh system. Only what is committed is tried."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from infra.engine.cli import cache_of
from tests.fresh.host import read_reach
from tests.fresh.readme import SYSTEM, read_commands, read_packages
from tests.fresh.system import CLONE, fresh_system


def check_readme(root: Path, *, both: bool, bare: bool) -> int:
    """Run the README's commands and return how many failed. ``both``: the tests too, not only the main job. ``bare``: without the host's
    Pulumi CLI, so that one has to be downloaded or built.

    Raises:
        MissingToolError: no fresh system can be set up here.
    """
    readme = (root / "README.md").read_text(encoding="utf-8")
    commands, packages = read_commands(readme), read_packages(readme)
    engine = None if bare else find_engines(os.environ)
    say(f"a minimal {SYSTEM} with {', '.join(packages)}, and {engine or 'no Pulumi CLI'}")
    failed = 0
    with fresh_system(root, packages, reach=read_reach(os.environ), engine=engine) as system:
        for command in commands if both else commands[:1]:
            began = time.monotonic()
            say(f"$ {command}")
            code = system.run(f"cd {CLONE} && {command}")
            failed += int(code != 0)
            say(f"exit code {code} after {time.monotonic() - began:.0f} s: {command}")
    return failed


def find_engines(environment: Mapping[str, str]) -> Path | None:
    """Where ``bootstrap`` keeps Pulumi CLIs on this host, if it has any."""
    folder = cache_of(environment) / "pulumi"
    return folder if any(folder.glob("*/bin/pulumi")) else None


def say(line: str) -> None:
    sys.stdout.write(f"fresh system: {line}\n")
    sys.stdout.flush()
