"""Commands that run at once take turns at what all of them share: the stack base and the image."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from runner.commands.context import Context
from runner.commands.events import Listener
from runner.core.results import disk_error

FILE = "making-base-and-image.lock"


@contextmanager
def taking_turns(context: Context, listener: Listener) -> Iterator[None]:
    """Inside, no other command of this home makes base or image; who comes later waits, and then finds them there.

    The lock is the kernel's: it ends with its process.

    Raises:
        DiskError: there is no lock file, and none can be made.
    """
    file = context.home / context.settings.target / FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("ab")
    except OSError as error:
        raise disk_error(error, file) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            listener.tell("warning", message="another command is making base or image; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
