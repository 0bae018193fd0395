"""Whose a connection over loopback is, from the kernel's own table of connections: for protocols that cannot carry a token.

A port of this computer can be reached by every user of it. Linux tells the user of each socket; elsewhere nothing is known,
and every connection counts as the owner's.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path

Address = tuple[str, int]

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
#: Behind the two ends: state, queues, timer, retransmissions, user, time-out, inode.
_UID_AFTER_ENDS, _INODE_AFTER_ENDS = 4, 6
#: Of a socket that its owner has closed: the kernel says that it is root's.
_NOBODYS_INODE = "0"


def is_own_connection(client: Address, server: Address, *, uid: int | None = None) -> bool:
    """Whether the end ``client`` of a connection to ``server`` is a socket of this user's (or of the user ``uid``)."""
    if not TABLES[0].exists():
        return True
    return user_of(client, server) == (os.geteuid() if uid is None else uid)


def user_of(client: Address, server: Address) -> int | None:
    """The user ID of the client's socket; None if there is no such connection, or nobody has it open at that end."""
    for table, mapped in zip(TABLES, (False, True), strict=True):
        ends = f" {_written(client, mapped=mapped)} {_written(server, mapped=mapped)} "
        # Split is the one row only: a busy computer has thousands.
        _, found, rest = (table.read_text() if table.exists() else "").partition(ends)
        if found:
            row = rest.split(maxsplit=_INODE_AFTER_ENDS + 1)
            return None if row[_INODE_AFTER_ENDS] == _NOBODYS_INODE else int(row[_UID_AFTER_ENDS])
    return None


def _written(address: Address, *, mapped: bool) -> str:
    """An IPv4 address as the kernel writes it; ``mapped``: as an IPv6 socket has it. Words of 32 bits in the machine's order."""
    host = ipaddress.IPv4Address(address[0]).packed
    whole = bytes(10) + b"\xff\xff" + host if mapped else host
    words = (whole[start : start + 4] for start in range(0, len(whole), 4))
    text = "".join((word[::-1] if sys.byteorder == "little" else word).hex() for word in words)
    return f"{text}:{address[1]:04x}".upper()
