"""Pseudo-terminals for SSH sessions: size and modes as the client wants them."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Mapping
from dataclasses import dataclass

IFLAG, OFLAG, LFLAG, CHARACTERS = 0, 1, 3, 6

FLAG_OPCODES = {
    34: (IFLAG, termios.ISTRIP), 36: (IFLAG, termios.ICRNL), 38: (IFLAG, termios.IXON), 39: (IFLAG, termios.IXANY),
    50: (LFLAG, termios.ISIG), 51: (LFLAG, termios.ICANON), 53: (LFLAG, termios.ECHO), 54: (LFLAG, termios.ECHOE),
    55: (LFLAG, termios.ECHOK), 56: (LFLAG, termios.ECHONL), 57: (LFLAG, termios.NOFLSH), 59: (LFLAG, termios.IEXTEN),
    70: (OFLAG, termios.OPOST), 72: (OFLAG, termios.ONLCR),
}  # fmt: skip
"""Terminal modes of RFC 4254, section 8, and their index and flag in termios."""

CHARACTER_OPCODES = {
    1: termios.VINTR, 2: termios.VQUIT, 3: termios.VERASE, 4: termios.VKILL, 5: termios.VEOF, 10: termios.VSUSP,
}  # fmt: skip
DISABLED = 255


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """An open pseudo-terminal: the emulator's side, and the processes' side with its name."""

    master: int
    slave: int
    name: str

    def resize(self, columns: int, rows: int) -> None:
        """Set the size; the kernel notifies the processes."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def open_terminal(modes: Mapping[int, int]) -> Terminal:
    """Open a pseudo-terminal with the modes of an SSH ``pty-req``."""
    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    for opcode, (index, flag) in FLAG_OPCODES.items():
        if opcode in modes:
            attributes[index] = attributes[index] | flag if modes[opcode] else attributes[index] & ~flag
    for opcode, index in CHARACTER_OPCODES.items():
        if opcode in modes:
            attributes[CHARACTERS][index] = bytes([0 if modes[opcode] == DISABLED else modes[opcode] & 0xFF])
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return Terminal(master=master, slave=slave, name=os.ttyname(slave))
