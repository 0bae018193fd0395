"""Files of an instance over SFTP and scp: the real file system, relative to the user's home."""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import re
from pathlib import Path
from typing import cast

import asyncssh

from runner.emulator.machines.faults import Faults

SCP_COMMAND = re.compile(r"scp( -[a-zA-Z]+)* -[a-zA-Z]*[tf]( |$)")


def is_scp(command: str | None) -> bool:
    """Return whether a command is the one that an scp client runs on the server."""
    return command is not None and SCP_COMMAND.match(command) is not None


class HomeFiles(asyncssh.SFTPServer):
    """An SFTP server that starts in ``home``.

    ``expand_tilde``: expand ``~`` as a shell does for scp's command line. SFTP itself does not, as on a real server.
    """

    def __init__(
        self, channel: asyncssh.SSHServerChannel[bytes], *, home: Path, faults: Faults, expand_tilde: bool
    ) -> None:
        super().__init__(channel)
        self._home = os.fsencode(home)
        self._faults = faults
        self._expand_tilde = expand_tilde

    def map_path(self, path: bytes) -> bytes:
        """Resolve a path of the client."""
        if self._expand_tilde and (path == b"~" or path.startswith(b"~/")):
            path = path[2:]
        return posixpath.join(self._home, path)

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        """Create a link with exactly the text that was sent: a relative one stays relative."""
        os.symlink(oldpath, self.map_path(newpath))  # noqa: PTH211  (names are bytes here)

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Write, unless the disk is full, and yield to other tasks."""
        if self._faults.disk_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = cast(int, super().write(file_obj, offset, data))
        await asyncio.sleep(0)
        return written

    def exit(self) -> None:
        """Send exit status 0 when the client leaves: OpenSSH's clients treat a missing one as a failure. That of scp is sent elsewhere."""
        if self.channel.get_subsystem() is not None:
            self.channel.exit(0)
