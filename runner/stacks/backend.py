"""Pulumi's backend for a folder: where its states and locks are, and their content. Nothing else knows this layout.

.pulumi/stacks/PROJECT/STACK.json[.gz]               a stack's state; beside it .bak, the one before
.pulumi/locks/ORGANIZATION/PROJECT/STACK/ID.json     a lock, by the process that runs an engine on it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from runner.model import names
from runner.stacks.contract import ProjectName
from runner.stacks.locks import StackLock, read_lock_file
from runner.system.files import disk_errors_mapped, make_private_folder

STATE_SUFFIXES = (".json", ".json.gz")
BACKUP = ".bak"
LOCK_ATTRIBUTES = ".attrs"  # a file that Pulumi's storage library keeps beside each file


class FolderBackend:
    """The states and locks below one folder of this computer."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / ".pulumi"

    @classmethod
    def find(cls, url: str) -> FolderBackend | None:
        """Return the backend at PULUMI_BACKEND_URL; None if that is not a folder of this computer."""
        parts = urlsplit(url)
        return cls(Path(url2pathname(parts.path))) if parts.scheme == "file" else None

    def create(self) -> None:
        """Create the folder that Pulumi expects. Does nothing if it exists.

        Raises:
            DiskError: it cannot be created.
        """
        with disk_errors_mapped(
            self._folder, more="PULUMI_BACKEND_URL and OPENSEES_HPC_HOME say where Pulumi's state is"
        ):
            make_private_folder(self._root)

    def stacks(self, project: ProjectName) -> set[str]:
        """Return the names of the stacks that have a state, readable or not."""
        files = (self._folder / "stacks" / names.PULUMI_PROJECTS[project]).glob("*")
        return {path.name.removesuffix(end) for path in files for end in STATE_SUFFIXES if path.name.endswith(end)}

    def state_file(self, project: ProjectName, name: str) -> Path:
        """Return where an uncompressed state is, or would be."""
        return self._folder / "stacks" / names.PULUMI_PROJECTS[project] / f"{name}.json"

    def set_state_aside(self, project: ProjectName, name: str) -> None:
        """Rename a stack's state to its backup, as Pulumi does when it removes a stack."""
        for end in STATE_SUFFIXES:
            state = self.state_file(project, name).with_name(f"{name}{end}")
            if state.exists():
                state.replace(backup_of(state))

    def locks(self, project: ProjectName, name: str) -> Mapping[Path, StackLock | None]:
        """Return a stack's lock files, with None for each that cannot be read."""
        folders = (self._folder / "locks").glob(f"*/{names.PULUMI_PROJECTS[project]}/{name}/*")
        return {path: read_lock_file(path) for path in sorted(folders) if path.suffix != LOCK_ATTRIBUTES}


def backup_of(state: Path) -> Path:
    """Return where Pulumi keeps the state before this one."""
    return state.with_name(f"{state.name}{BACKUP}")


def is_whole(path: Path) -> bool:
    """Return whether a state or lock file is complete JSON."""
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


def read_key(exported: str) -> dict[str, str]:
    """Return what encrypts the secrets of a stack, out of its exported state, as in its settings; {} if the state does not say."""
    provider: dict[str, Any] = json.loads(exported).get("deployment", {}).get("secrets_providers") or {}
    found = provider.get("state") or {}
    if provider.get("type") == "cloud":
        return {"secretsprovider": str(found["url"]), "encryptedkey": str(found["encryptedkey"])}
    return {"encryptionsalt": str(found["salt"])} if provider.get("type") == "passphrase" else {}
