"""The lock on what all commands share: the base stack and the image."""

from __future__ import annotations

from contextlib import AbstractContextManager

from runner.context import Context
from runner.system.file_lock import waiting_lock

FILE = "making-base-and-image.lock"


def base_lock(context: Context) -> AbstractContextManager[None]:
    """Keep other commands with this state folder from creating the base stack or the image; they wait, and then find them.

    Raises (entering):
        DiskError: the lock file cannot be created.
    """

    def report() -> None:
        context.warn("another command is creating the base stack or the image; waiting for it")

    return waiting_lock(context.state_folder / context.settings.target / FILE, on_wait=report)
