"""Mending what a full disk or a power cut leaves of a stack's files, where the state is in a folder of this machine.

A lock that was never written whole stops the engine as a whole one does, and names nobody; one of an engine that died before
there was a state cannot be cancelled, because there is no stack yet. A state that cannot be read is
replaced by Pulumi's own copy of the one before, or put away: what it said of the cloud, the cloud says itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from runner.model import names
from runner.stacks.contract import ProjectName
from runner.stacks.locks import read_lock_file

WRITING_S = 2.0  # a file that is younger may be in the middle of being written; that is waited for
LOOK_S = 0.05
DAMAGED = ".damaged"


def mend_stack(backend_url: str, project: ProjectName, name: str) -> bool:
    """Whether there was anything to mend in the files of a stack."""
    parts = urlsplit(backend_url)
    if parts.scheme != "file":
        return False
    folder = Path(url2pathname(parts.path)) / ".pulumi"
    useless = list(_useless_locks(folder, project, name))
    for lock in useless:
        lock.unlink(missing_ok=True)
    return _mend_state(folder / "stacks" / names.PULUMI_PROJECTS[project] / f"{name}.json") or bool(useless)


def _useless_locks(folder: Path, project: ProjectName, name: str) -> Iterator[Path]:
    """Those of engines of this machine that are no more, and those that cannot be read and are not being written."""
    for path in (folder / "locks").glob(f"*/{names.PULUMI_PROJECTS[project]}/{name}/*"):
        lock = read_lock_file(path)
        if path.suffix != ".attrs" and (_is_left_broken(path) if lock is None else lock.is_stale()):
            yield path


def _is_left_broken(path: Path) -> bool:
    """Whether it is not whole, and stays so: an engine that met a full disk may have left it a moment ago."""
    give_up_at = time.monotonic() + WRITING_S
    while not _is_json(path):
        try:
            age_s = time.time() - path.stat().st_mtime
        except OSError:  # it has gone
            return False
        if age_s > WRITING_S or time.monotonic() > give_up_at:
            return True
        time.sleep(LOOK_S)
    return False


def _mend_state(state: Path) -> bool:
    if not _is_left_broken(state):
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
