"""Finds the user of a loopback connection in the kernel's table of connections: for protocols that cannot carry a token.

Every user of this computer can reach its ports. Linux reports the user of each socket; elsewhere nothing is known, and
every connection counts as the owner's.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path

Address = tuple[str, int]

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
#: After the two addresses: state, queues, timer, retransmissions, user, timeout, inode.
_UID_AFTER_ENDS, _INODE_AFTER_ENDS = 4, 6
#: Of a socket that its owner has closed: the kernel reports root as its user.
_CLOSED_INODE = "0"


def is_own_connection(client: Address, server: Address, *, uid: int | None = None) -> bool:
    """Return whether the client's socket of a connection to ``server`` belongs to this user (or the user ``uid``)."""
    if not TABLES[0].exists():
        return True
    return user_of(client, server) == (os.geteuid() if uid is None else uid)


def user_of(client: Address, server: Address) -> int | None:
    """Return the user ID of the client's socket; None if there is no such connection, or the client has closed it."""
    for table, mapped in zip(TABLES, (False, True), strict=True):
        ends = f" {_written(client, mapped=mapped)} {_written(server, mapped=mapped)} "
        # Only the one row is split: a busy computer has thousands.
        _, found, rest = (table.read_text() if table.exists() else "").partition(ends)
        if found:
            row = rest.split(maxsplit=_INODE_AFTER_ENDS + 1)
            return None if row[_INODE_AFTER_ENDS] == _CLOSED_INODE else int(row[_UID_AFTER_ENDS])
    return None


def _written(address: Address, *, mapped: bool) -> str:
    """Format an IPv4 address as the kernel does; ``mapped``: for an IPv6 socket. Words of 32 bits in native byte order."""
    host = ipaddress.IPv4Address(address[0]).packed
    whole = bytes(10) + b"\xff\xff" + host if mapped else host
    words = (whole[start : start + 4] for start in range(0, len(whole), 4))
    text = "".join((word[::-1] if sys.byteorder == "little" else word).hex() for word in words)
    return f"{text}:{address[1]:04x}".upper()
