"""What this machine remembers of stacks, read from files: no engine, no passphrase, no readable state is needed.

The last resort when the engine cannot forget a stack of which everything is gone. The layout is that of Pulumi's own
backend for a folder (``.pulumi/stacks/PROJECT/STACK.json``, ``.pulumi/locks/…``).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from runner.errors import StackError
from runner.model import names
from runner.stacks.contract import ProjectName
from runner.stacks.files import StackFiles
from runner.stacks.locks import StackLock, read_lock_file

STATE_SUFFIXES = (".json", ".json.gz")


class StackRecords:
    """The records of the stacks of one state. ``backend_url`` as PULUMI_BACKEND_URL has it."""

    def __init__(self, *, infra: Path, work: Path, backend_url: str) -> None:
        self._infra = infra
        self._work = work
        self._backend_url = backend_url
        parts = urlsplit(backend_url)
        self._folder = Path(url2pathname(parts.path)) / ".pulumi" if parts.scheme == "file" else None

    @property
    def has_state(self) -> bool:
        """Is the state in a folder of this machine? If not, only the engine knows all its stacks."""
        return self._folder is not None

    def names(self, project: ProjectName) -> list[str]:
        """The stacks whose settings are here, or whose state is, readable or not."""
        return sorted(self.names_in_state(project).union(self._files(project).stacks_with_settings()))

    def names_in_state(self, project: ProjectName) -> set[str]:
        """The stacks whose state is in a folder of this machine."""
        if self._folder is None:
            return set()
        stacks = (self._folder / "stacks" / names.PULUMI_PROJECTS[project]).glob("*")
        return {path.name.removesuffix(end) for path in stacks for end in STATE_SUFFIXES if path.name.endswith(end)}

    def labels(self, project: ProjectName, name: str) -> dict[str, str]:
        """``owner`` and ``expires`` from a stack's settings, where they are here."""
        config = self._files(project).read_settings(name)
        found = {key: str(config.get(f"{names.CONFIG_NAMESPACE}:{key}", "")) for key in ("owner", "expires")}
        return {key: _as_label(value) if key == "expires" else value for key, value in found.items() if value}

    def forget_settings(self, project: ProjectName, name: str) -> None:
        """Remove a stack's settings only."""
        self._files(project).forget_settings(name)

    def forget(self, project: ProjectName, name: str) -> None:
        """Remove a stack's state, locks of the dead, and settings. The state stays beside, as ``.bak``, as Pulumi does it.

        Raises:
            StackError: the state is not in a folder of this machine, or somebody who lives has it locked.
        """
        if self._folder is None:
            raise StackError(
                f"the state of {project}/{name} is in {self._backend_url}", remedy=removal_command(project, name)
            )
        holders = [lock for lock in self._locks(project, name) if not lock.is_stale()]
        if holders:
            told = ", ".join(f"{lock.user}@{lock.host} (process {lock.pid})" for lock in holders)
            raise StackError(f"{project}/{name} is locked by {told}", remedy=removal_command(project, name))
        for path in self._lock_files(project, name):
            path.unlink(missing_ok=True)
        for end in STATE_SUFFIXES:
            state = self._folder / "stacks" / names.PULUMI_PROJECTS[project] / f"{name}{end}"
            if state.exists():
                state.replace(state.with_name(f"{state.name}.bak"))
        self._files(project).forget_settings(name)

    def _locks(self, project: ProjectName, name: str) -> list[StackLock]:
        found = (read_lock_file(path) for path in self._lock_files(project, name))
        return [lock for lock in found if lock is not None]

    def _lock_files(self, project: ProjectName, name: str) -> list[Path]:
        if self._folder is None:
            return []
        return sorted((self._folder / "locks").glob(f"*/{names.PULUMI_PROJECTS[project]}/{name}/*.json"))

    def _files(self, project: ProjectName) -> StackFiles:
        return StackFiles(infra=self._infra, work=self._work, project=project)


def removal_command(project: ProjectName, name: str) -> str:
    """What makes an end of a stack of which everything is gone, by hand."""
    return (
        f'eval "$(invoke env)"; cd infra/{project} && pulumi cancel --yes --stack {name}; '
        f"pulumi stack rm --force --yes {name}"
    )


def _as_label(expires: str) -> str:
    """The setting ``expires``, which may be a time in ISO 8601, as the label has it."""
    try:
        return names.expires_label(datetime.fromisoformat(expires))
    except ValueError:
        return expires
