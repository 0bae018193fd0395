"""The faults of one instance. The admin API sets them; ``ssh_server`` and ``sftp`` apply them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class Faults:
    """The faults in force on one instance, none at first.

    A full disk is a file size limit of zero for every process, the best that works without privileges: writes fail with EFBIG instead
    of ENOSPC, empty files can be created, and ``df`` does not show it. Through SFTP the error is that of a full disk.
    """

    ssh_refused_until: float = 0.0
    cut_next_connection_after_bytes: int | None = None
    disk_full: bool = False
    hangs: bool = False

    def refuses_ssh(self, now: float) -> bool:
        """Return whether a connection that arrives at ``now`` (the event loop's time) is closed at once."""
        return now < self.ssh_refused_until

    def take_cut(self) -> int | None:
        """Return the number of bytes after which the new connection is cut, None for no cut, and clear it."""
        cut, self.cut_next_connection_after_bytes = self.cut_next_connection_after_bytes, None
        return cut
