"""The commands and packages that the README names, read from it."""

from __future__ import annotations

import re
from collections.abc import Sequence

SYSTEM = "Debian 12"
BASICS = ("git", "python3")  # named in its running text
INSTALL = "sudo apt-get install "


def read_commands(readme: str) -> Sequence[str]:
    """Return the commands that the README gives first: the main job, then the tests."""
    block = readme.split("\n    ./bootstrap invoke ", 2)[2] if readme.count("\n    ./bootstrap invoke ") > 1 else ""
    lines = f"./bootstrap invoke {block}".split("\n\n")[0].splitlines()
    return [re.split(r"\s+#", line.strip())[0] for line in lines if block]


def read_packages(readme: str) -> Sequence[str]:
    """Return the packages that the README names for ``SYSTEM``."""
    row = next((line for line in readme.splitlines() if line.startswith(f"| {SYSTEM}")), "")
    command = next((text for text in row.split("`") if text.startswith(INSTALL)), "")
    named = command.removeprefix(INSTALL).split()
    return [*BASICS, *named] if named else []
