"""Where the settings of stacks are, and how ``pulumi`` by hand finds the same ones.

The engine runs in a work folder of its own for each project, so that two states on one checkout (local and Google, or two
tests) never share a ``Pulumi.<stack>.yaml``. The folder in ``infra/`` gets a link to it, for ``pulumi`` by hand.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.stacks.contract import ProjectName
from runner.system.files import STATE_ELSEWHERE, disk_errors_mapped, make_private_folder, write_private

PROJECT_FILE = "Pulumi.yaml"
KEPT_KEYS = ("encryptionsalt", "secretsprovider", "encryptedkey")


class StackFiles:
    """The files of one project: ``source`` is its folder in ``infra/``, ``work`` where the engine runs.

    Raises (all that write): DiskError.
    """

    def __init__(self, *, infra: Path, work: Path, project: ProjectName) -> None:
        self._source = infra / project
        self.work = work / project

    def prepare(self) -> Path:
        """Create the work folder, with the project file as it is in ``infra/``; return it."""
        wanted = (self._source / PROJECT_FILE).read_bytes()
        there = self.work / PROJECT_FILE
        with disk_errors_mapped(there, more=STATE_ELSEWHERE):
            make_private_folder(self.work)
            if not there.exists() or there.read_bytes() != wanted:
                write_private(there, wanted)
        return self.work

    def write_settings(self, stack: str, config: Mapping[str, str]) -> None:
        """Replace the stack's settings, but keep what the engine wrote about its secrets, and link them for use by hand."""
        path = self._path(self.work, stack)
        known = _read_yaml(path) or self._made_by_hand(stack)
        kept = {key: known[key] for key in KEPT_KEYS if key in known}
        self._write(stack, kept | {"config": dict(config)})

    def has_key(self, stack: str) -> bool:
        """Return whether the settings say what encrypts the stack's secrets."""
        return bool(set(KEPT_KEYS) & set(_read_yaml(self._path(self.work, stack))))

    def write_key(self, stack: str, key: Mapping[str, str]) -> None:
        """Add to the settings what encrypts the stack's secrets."""
        self._write(stack, _read_yaml(self._path(self.work, stack)) | dict(key))

    def _write(self, stack: str, settings: Mapping[str, Any]) -> None:
        self.prepare()
        path = self._path(self.work, stack)
        text = yaml.safe_dump(dict(settings), sort_keys=True, allow_unicode=True)
        with disk_errors_mapped(path, more=STATE_ELSEWHERE):
            write_private(path, text.encode())
        self.link_settings(stack)

    def read_settings(self, stack: str) -> Mapping[str, Any]:
        """Return the stack's settings; empty if they are not on this computer, or cannot be read."""
        config = _read_yaml(self._path(self.work, stack)).get("config")
        return config if isinstance(config, dict) else {}

    def _made_by_hand(self, stack: str) -> dict[str, Any]:
        """Return settings that ``pulumi stack init`` left in the checkout. A link does not count: it points to the settings of another state."""
        path = self._path(self._source, stack)
        return {} if path.is_symlink() else _read_yaml(path)

    def link_settings(self, stack: str) -> None:
        """Link these settings into the checkout for ``pulumi`` by hand, if the checkout can be written to."""
        link = self._path(self._source, stack)
        with contextlib.suppress(OSError):
            fresh = link.with_name(f".{link.name}.{os.getpid()}.{threading.get_ident()}")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self._path(self.work, stack).resolve())
            fresh.replace(link)

    def forget_settings(self, stack: str) -> None:
        """Remove the stack's settings, and the link if it points to these."""
        path = self._path(self.work, stack)
        link = self._path(self._source, stack)
        with contextlib.suppress(OSError):
            if link.is_symlink() and link.readlink() == path.resolve():
                link.unlink()
        path.unlink(missing_ok=True)

    def stacks_with_settings(self) -> list[str]:
        """Return the stacks whose settings are on this computer."""
        found = self.work.glob("Pulumi.*.yaml")
        return sorted(path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in found)

    @staticmethod
    def _path(folder: Path, stack: str) -> Path:
        return folder / f"Pulumi.{stack}.yaml"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}
