"""The init process of one emulated instance. Run as ``python -I -S guest_init.py CONTROL_FD NAME``; standard library only, never imported.

It starts every process of the instance, adopts their orphans (Linux: child subreaper), and ends all of them on request, on SIGTERM, or when
the other end of its control socket closes, which also happens when the emulator is killed.

Control socket: one JSON object a line. Requests: ``spawn`` (with three descriptors by SCM_RIGHTS), ``signal``, ``terminate``, ``limit``, ``kill``.
Messages: ``{"id", "exit"}`` or ``{"id", "signal", "core"}`` for each process that ended, ``{"event": "power_off"}`` (on SIGUSR1), ``{"event": "childless"}``.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import termios
import time
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36
STDIO_COUNT = 3
GIVE_UP_S = 20.0
PAUSE_S = 0.002
OURS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends. Linux only; elsewhere such orphans go to launchd."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # imported here: it costs 1 MB, and other systems do not need it

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def list_parents() -> dict[int, int]:
    """Return the parent of each visible process."""
    if os.path.isdir("/proc/self"):  # noqa: PTH112  (pathlib would double this process's memory)
        return dict(filter(None, map(read_parent, filter(str.isdigit, os.listdir("/proc")))))  # noqa: PTH208
    pairs = (line.split() for line in os.popen("ps -axo pid=,ppid="))  # noqa: S605,S607
    return {int(pid): int(parent) for pid, parent in pairs}


def read_parent(pid: str) -> tuple[int, int] | None:
    """Read ``(pid, parent)``, None if the process is gone. A program's name may contain blanks and brackets: count from the last one."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:  # noqa: PTH123
            return int(pid), int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return None


def list_descendants() -> set[int]:
    """Return every descendant of this process."""
    children: dict[int, list[int]] = {}
    for pid, parent in list_parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            if pid not in found:
                found.add(pid)
                waiting.append(pid)
    return found


def send_signal(pid: int, number: int) -> None:
    """Signal one process; no error if it is gone or not ours."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def exec_child(request: dict[str, object], stdio: list[int]) -> None:
    """Set up session, terminal, folder and environment in the child, then execute the program. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        for target, source in enumerate(stdio):
            os.dup2(source, target)
        if request["tty"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # SIGXFSZ stays ignored, so that on a full disk (a file size limit here) write() fails instead of killing the process.
        for number in (*OURS, *IGNORED, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OURS)
        os.umask(0o022)
        os.chdir(str(request["cwd"]))
        os.execve(str(request["path"]), request["argv"], request["env"])  # type: ignore[arg-type]  # noqa: S606
    except BaseException as error:
        os.write(2, f"{request['path']}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


class Init:
    """The processes of one instance."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.ids: dict[int, int] = {}
        self.pids: dict[int, int] = {}
        self.text = b""
        self.received_fds: list[int] = []
        self.terminating = False

    def send(self, **message: object) -> None:
        """Send a message to the emulator. If it is gone, the next read of the socket shows it."""
        with suppress(OSError):
            self.control.sendall(json.dumps(message).encode() + b"\n")

    def reap(self) -> bool:
        """Collect all processes that have ended; return False if there is no child left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.report(pid, status)

    def report(self, pid: int, status: int) -> None:
        """Report the end of a process that the emulator started; adopted orphans are not reported."""
        number = self.ids.pop(pid, None)
        if number is None:
            return
        del self.pids[number]
        if os.WIFSIGNALED(status):
            self.send(id=number, signal=os.WTERMSIG(status), core=os.WCOREDUMP(status))
        else:
            self.send(id=number, exit=os.WEXITSTATUS(status))

    def spawn(self, request: dict[str, object]) -> None:
        """Start a process with the next three descriptors as its standard streams."""
        stdio, self.received_fds = self.received_fds[:STDIO_COUNT], self.received_fds[STDIO_COUNT:]
        # Blocked: a signal for the child would otherwise appear in the wake-up pipe, which it shares with us until it executes.
        signal.pthread_sigmask(signal.SIG_BLOCK, OURS)
        pid = os.fork()
        if pid == 0:
            exec_child(request, stdio)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OURS)
        for fd in stdio:
            os.close(fd)
        number = int(str(request["id"]))
        self.ids[pid], self.pids[number] = number, pid

    def signal(self, request: dict[str, object]) -> None:
        """Signal the process group of a process that we started, as sshd does."""
        pid = self.pids.get(int(str(request["id"])))
        if pid is not None:
            try:
                os.killpg(pid, int(str(request["signal"])))
            except (ProcessLookupError, PermissionError):
                send_signal(pid, int(str(request["signal"])))

    def terminate(self, _request: dict[str, object]) -> None:
        """Send SIGTERM to every process. ``childless`` is sent when all have ended."""
        self.terminating = True
        for pid in list_descendants():
            send_signal(pid, signal.SIGTERM)
            send_signal(pid, signal.SIGCONT)

    def limit(self, request: dict[str, object]) -> None:
        """Limit the size of files (None: no limit) for all processes, now and later."""
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        wanted = (hard if request["bytes"] is None else int(str(request["bytes"])), hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, wanted)
        if hasattr(resource, "prlimit"):
            for pid in list_descendants():
                with suppress(ProcessLookupError, PermissionError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, wanted)

    def handle_requests(self) -> bool:
        """Read and execute the emulator's requests; return False if it requests the end, or is gone."""
        try:
            data, fds, _flags, _address = socket.recv_fds(self.control, 65536, 4 * STDIO_COUNT)
        except ConnectionError:
            return False
        for fd in fds:
            os.set_inheritable(fd, False)
        self.received_fds += fds
        *lines, self.text = (self.text + data).split(b"\n")
        for request in map(json.loads, lines):
            if request["op"] == "kill":
                return False
            getattr(self, request["op"])(request)
        return bool(data)

    def kill_all(self) -> None:
        """Kill all descendants. All are stopped before any is killed, so that none can start another one unseen."""
        frozen: set[int] = set()
        end_s = time.monotonic() + GIVE_UP_S
        while self.reap() and time.monotonic() < end_s:
            family = list_descendants()
            for pid in family - frozen:
                send_signal(pid, signal.SIGSTOP)
            if family <= frozen:
                for pid in family:
                    send_signal(pid, signal.SIGKILL)
                time.sleep(PAUSE_S)
            frozen = family

    def serve(self) -> None:
        """Serve requests and signals until the end is requested."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write)
        for number in OURS:
            signal.signal(number, lambda _number, _frame: None)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        self.send(event="up")
        while True:
            ready, _, _ = select.select([self.control.fileno(), wake_read], [], [])
            if wake_read in ready:
                came = os.read(wake_read, 4096)
                if signal.SIGTERM in came:
                    return
                if signal.SIGUSR1 in came:
                    self.send(event="power_off")
            if self.control.fileno() in ready and not self.handle_requests():
                return
            if not self.reap() and self.terminating:
                self.terminating = False
                self.send(event="childless")


def main() -> None:
    """Serve requests, then kill all remaining processes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    adopt_orphans()
    init = Init(control)
    try:
        init.serve()
    finally:
        init.kill_all()


if __name__ == "__main__":
    main()
