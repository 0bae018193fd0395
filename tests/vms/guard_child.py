"""A process that guards one VM on a cloud of files, for tests that end it by a signal. ``python guard_child.py FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from runner.google import GONE_ALREADY
from runner.model.leftover import Item
from runner.vms.guard import GuardLimits, Vm, VMGuard
from tests.support.small_cloud import SmallCompute, small_context


class FolderInventory:
    """A VM is a file. Deleting takes a moment, so that a second signal can arrive meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remove(self, item: Item) -> str:
        if not (self._folder / item.name).exists():
            return GONE_ALREADY
        sys.stdout.write("deleting\n")
        sys.stdout.flush()
        sys.stdin.readline()
        (self._folder / item.name).unlink(missing_ok=True)
        return "deleted"


def main(folder: Path) -> None:
    context = small_context(folder, SmallCompute(), inventory=FolderInventory(folder))
    limits = GuardLimits(settle_s=0, poll_s=0.01)
    with (
        context.journals.begin("b", "run") as state,
        VMGuard(context.with_journal(state), Vm(name="b-0", zone="z-a"), limits=limits) as guard,
    ):
        (folder / "b-0").touch()
        guard.created("b-0")
        sys.stdout.write("created\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
