"""The records of stacks on this computer, read from files, without engine, passphrase or readable state.

The last resort if the engine cannot remove a stack whose resources no longer exist.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from runner.errors import StackError
from runner.model import names
from runner.stacks.backend import FolderBackend
from runner.stacks.contract import ProjectName
from runner.stacks.files import StackFiles


class StackRecords:
    """The records of the stacks of one state. ``backend_url`` as PULUMI_BACKEND_URL has it."""

    def __init__(self, *, infra: Path, work: Path, backend_url: str) -> None:
        self._infra = infra
        self._work = work
        self._backend_url = backend_url
        self._backend = FolderBackend.find(backend_url)

    @property
    def has_state(self) -> bool:
        """Is the state in a folder of this computer? If not, only the engine knows all its stacks."""
        return self._backend is not None

    def names(self, project: ProjectName) -> list[str]:
        """Return the stacks whose settings or state are on this computer, readable or not."""
        return sorted(self.names_in_state(project).union(self._files(project).stacks_with_settings()))

    def names_in_state(self, project: ProjectName) -> set[str]:
        """Return the stacks whose state is in a folder of this computer."""
        return set() if self._backend is None else self._backend.stacks(project)

    def labels(self, project: ProjectName, name: str) -> dict[str, str]:
        """Return ``owner`` and ``expires`` from a stack's settings, if they are on this computer."""
        config = self._files(project).read_settings(name)
        found = {key: str(config.get(f"{names.CONFIG_NAMESPACE}:{key}", "")) for key in ("owner", "expires")}
        return {key: _as_label(value) if key == "expires" else value for key, value in found.items() if value}

    def forget_settings(self, project: ProjectName, name: str) -> None:
        """Remove a stack's settings only."""
        self._files(project).forget_settings(name)

    def forget(self, project: ProjectName, name: str) -> None:
        """Remove a stack's state, its locks of dead processes, and its settings. The state is kept as ``.bak``, as Pulumi does.

        Raises:
            StackError: the state is not in a folder of this computer, or a living process has it locked.
        """
        if self._backend is None:
            raise StackError(
                f"the state of {project}/{name} is in {self._backend_url}", remedy=removal_command(project, name)
            )
        locks = self._backend.locks(project, name)
        holders = [lock for lock in locks.values() if lock is not None and not lock.is_stale()]
        if holders:
            shown = ", ".join(f"{lock.user}@{lock.host} (process {lock.pid})" for lock in holders)
            raise StackError(f"{project}/{name} is locked by {shown}", remedy=removal_command(project, name))
        for path in locks:
            path.unlink(missing_ok=True)
        self._backend.set_state_aside(project, name)
        self._files(project).forget_settings(name)

    def _files(self, project: ProjectName) -> StackFiles:
        return StackFiles(infra=self._infra, work=self._work, project=project)


def removal_command(project: ProjectName, name: str) -> str:
    """Return the command that removes by hand a stack whose resources no longer exist."""
    return (
        f'eval "$(invoke env)"; cd infra/{project} && pulumi cancel --yes --stack {name}; '
        f"pulumi stack rm --force --yes {name}"
    )


def _as_label(expires: str) -> str:
    """Return the setting ``expires``, which may be a time in ISO 8601, in the label's form."""
    try:
        return names.expires_label(datetime.fromisoformat(expires))
    except ValueError:
        return expires
