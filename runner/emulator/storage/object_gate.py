"""Runs the object store in a network that others cannot reach, and hands out connections to it: a program of its own (``python -I -S``).

The object store accepts every request that reaches its port. On Linux it gets a network namespace of its own (which needs no
privileges where the system lets users create them) for the port; the only way in is a connection that this program
opens and passes on through the socket that it was started with. Standard library only, like an instance's init.

Arguments: descriptor of the socket, ``closed`` or ``open``, the port, the command. Sends ``u`` when the command runs. To each
byte that it receives it answers ``c`` with a connected socket, or ``n`` if it cannot connect. It ends with the
command, and the command with it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress

LOOPBACK = "127.0.0.1"
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
CONNECT_LIMIT_S = 10.0


def enter_own_network() -> None:
    """Leave the network of this computer for one with loopback only. Raises OSError if the system forbids it."""
    libc, uid, gid = ctypes.CDLL(None, use_errno=True), os.geteuid(), os.getegid()
    if not hasattr(libc, "unshare"):
        raise OSError("there are no namespaces here")
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network of its own")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as stream:  # noqa: PTH123  (pathlib would double this process's memory)
                stream.write(text)
    switch_loopback_on()


def switch_loopback_on() -> None:
    """Bring loopback up, which is down in a new network namespace."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def start(command: list[str], alive: int) -> subprocess.Popen[bytes]:
    """Start the command. It keeps ``alive`` open for as long as it runs, and the kernel ends it with us."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def die_with_parent() -> None:
        if hasattr(libc, "prctl"):
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(command, pass_fds=(alive,), preexec_fn=die_with_parent)  # noqa: S603


def connect(port: int) -> socket.socket | None:
    """Return a connection to the command; None if it accepts none."""
    with suppress(OSError):
        return socket.create_connection((LOOPBACK, port), CONNECT_LIMIT_S)
    return None


def serve(control: socket.socket, port: int, alive: int) -> None:
    """Hand out connections until the command, or their user, is gone."""
    while True:
        ready, _, _ = select.select([control.fileno(), alive], [], [])
        if alive in ready:
            return
        try:
            asked = len(control.recv(4096))
        except ConnectionError:
            return
        if not asked:
            return
        for _ in range(asked):
            hand_over(control, connect(port))


def hand_over(control: socket.socket, made: socket.socket | None) -> None:
    """Pass a connection on, and keep none of it here."""
    with suppress(OSError):
        if made is None:
            control.sendall(b"n")
            return
        with made:
            made.setblocking(False)
            socket.send_fds(control, [b"c"], [made.fileno()])


def main() -> int:
    """Return the command's exit code; 77 if it cannot have a network of its own."""
    descriptor, mode, port, *command = sys.argv[1:]
    control = socket.socket(fileno=int(descriptor))
    control.set_inheritable(False)
    if mode == "closed":
        try:
            enter_own_network()
        except OSError as error:
            sys.stderr.write(f"no network of its own: {error}\n")
            return 77
    ours, theirs = os.pipe()
    process = start(command, theirs)
    os.close(theirs)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control.sendall(b"u")
    serve(control, int(port), ours)
    process.kill()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
