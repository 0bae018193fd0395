"""What can be made to go wrong on one instance. The admin API asks for it; ``ssh_server`` and ``sftp`` look here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class Faults:
    """The faults in force on one instance, none at first.

    A full disk is a file size limit of zero for every process, which is what can be had without privileges: writes fail with EFBIG instead
    of ENOSPC, empty files can be made, and ``df`` does not show it. Through SFTP the error is that of a full disk.
    """

    ssh_refused_until: float = 0.0
    cut_next_connection_after_bytes: int | None = None
    disk_full: bool = False
    hangs: bool = False

    def refuses_ssh(self, now: float) -> bool:
        """Whether a connection that comes now (a time of the event loop) is closed at once."""
        return now < self.ssh_refused_until

    def take_cut(self) -> int | None:
        """After how many bytes the connection that comes now is to be lost; asked once, then forgotten."""
        cut, self.cut_next_connection_after_bytes = self.cut_next_connection_after_bytes, None
        return cut
