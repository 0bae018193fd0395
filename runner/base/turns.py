"""Commands that run at once take turns at what all of them share: the stack base and the image."""

from __future__ import annotations

from contextlib import AbstractContextManager

from runner.context import Context
from runner.system.file_lock import waiting_lock

FILE = "making-base-and-image.lock"


def taking_turns(context: Context) -> AbstractContextManager[None]:
    """Inside, no other command of this home makes base or image; who comes later waits, and then finds them there.

    Raises (entering):
        DiskError: there is no lock file, and none can be made.
    """

    def tell() -> None:
        context.warn("another command is making base or image; waiting for it")

    return waiting_lock(context.home / context.settings.target / FILE, on_wait=tell)
