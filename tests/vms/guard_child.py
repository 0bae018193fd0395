"""A process that guards one VM on a cloud of files, for tests that end it by a signal. ``python guard_child.py FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from runner.journal.journal import Journal
from runner.vms.guard import Patience, Vm, VMGuard


class FolderCloud:
    """A VM is a file. Deleting takes a moment, so that a second signal can arrive meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def instance(self, zone: str, name: str) -> object | None:
        return True if (self._folder / name).exists() else None

    def delete_instance(self, zone: str, name: str) -> None:
        sys.stdout.write("deleting\n")
        sys.stdout.flush()
        sys.stdin.readline()
        (self._folder / name).unlink(missing_ok=True)


def main(folder: Path) -> None:
    cloud = FolderCloud(folder)
    with (
        Journal(folder=folder / "journal").begin("b", "run") as state,
        VMGuard(
            cloud, Vm(name="b-0", zone="z-a"), tell=print, journal=state, patience=Patience(settle_s=0, poll_s=0.01)
        ) as guard,
    ):
        (folder / "b-0").touch()
        guard.created("b-0")
        sys.stdout.write("created\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
