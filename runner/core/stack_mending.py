"""Mending what a full disk or a power cut leaves of a stack's files, where the state is in a folder of this machine.

A lock that was never written whole stops the engine as a whole one does, and names nobody. A state that cannot be read is
replaced by Pulumi's own copy of the one before, or put away: what it said of the cloud, the cloud says itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from runner.core.stacks import ProjectName
from runner.model import names

WRITING_S = 2.0  # a file that is younger may be in the middle of being written
DAMAGED = ".damaged"


def mend_stack(backend_url: str, project: ProjectName, name: str) -> bool:
    """Whether there was anything to mend in the files of a stack."""
    parts = urlsplit(backend_url)
    if parts.scheme != "file":
        return False
    folder = Path(url2pathname(parts.path)) / ".pulumi"
    broken = list(_broken_locks(folder, project, name))
    for lock in broken:
        lock.unlink(missing_ok=True)
    return _mend_state(folder / "stacks" / names.PULUMI_PROJECTS[project] / f"{name}.json") or bool(broken)


def _broken_locks(folder: Path, project: ProjectName, name: str) -> Iterator[Path]:
    now = time.time()
    for path in (folder / "locks").glob(f"*/{names.PULUMI_PROJECTS[project]}/{name}/*"):
        if path.suffix != ".attrs" and not _is_json(path) and path.exists() and now - path.stat().st_mtime > WRITING_S:
            yield path


def _mend_state(state: Path) -> bool:
    if not state.exists() or _is_json(state):
        return False
    state.replace(state.with_name(state.name + DAMAGED))
    copy = state.with_name(f"{state.name}.bak")
    if _is_json(copy):
        copy.replace(state)
    return True


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False
