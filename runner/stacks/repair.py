"""Repair of a stack's files after a full disk or a power cut, where the state is in a folder of this computer.

A half-written lock stops the engine as a complete one does, but names no holder; a lock of an engine that died before it
wrote a state cannot be cancelled, because the stack does not exist yet. A state that cannot be read is
replaced by Pulumi's own copy of the previous one, or set aside: what exists is found in the cloud.
"""

from __future__ import annotations

import time
from pathlib import Path

from runner.stacks.backend import FolderBackend, backup_of, is_whole
from runner.stacks.contract import ProjectName
from runner.stacks.locks import StackLock

WRITING_S = 2.0  # a file that is younger may be in the middle of being written; then it is waited for
LOOK_S = 0.05
CORRUPT = ".corrupt"


def repair_stack(backend_url: str, project: ProjectName, name: str) -> bool:
    """Repair the files of a stack; return whether there was anything to repair."""
    backend = FolderBackend.find(backend_url)
    if backend is None:
        return False
    useless = [path for path, lock in backend.locks(project, name).items() if _is_useless(path, lock)]
    for path in useless:
        path.unlink(missing_ok=True)
    return _repair_state(backend.state_file(project, name)) or bool(useless)


def _is_useless(path: Path, lock: StackLock | None) -> bool:
    """Return whether a lock is of a dead engine of this computer, or cannot be read and is not being written."""
    return _is_left_broken(path) if lock is None else lock.is_stale()


def _is_left_broken(path: Path) -> bool:
    """Return whether it is incomplete and stays so: an engine on a full disk may have left it a moment ago."""
    give_up_at = time.monotonic() + WRITING_S
    while not is_whole(path):
        try:
            age_s = time.time() - path.stat().st_mtime
        except OSError:  # it was deleted
            return False
        if age_s > WRITING_S or time.monotonic() > give_up_at:
            return True
        time.sleep(LOOK_S)
    return False


def _repair_state(state: Path) -> bool:
    if not _is_left_broken(state):
        return False
    state.replace(state.with_name(state.name + CORRUPT))
    copy = backup_of(state)
    if is_whole(copy):
        copy.replace(state)
    return True
