"""The emulator's side of an instance's init process: starts it, makes it spawn and signal processes, ends it.

The commands and their users are decided elsewhere (``login``, ``ssh_session``, ``metadata_scripts``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

INIT_SCRIPT = Path(__file__).with_name("guest_init.py")
END_LIMIT_S = 25.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to execute: arguments (the first is its name), folder, the whole environment, on a terminal or not."""

    path: str
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    tty: bool = False


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a process: an exit code, or the number of a signal."""

    code: int = 0
    signal: int = 0
    dumped_core: bool = False


@dataclass(frozen=True, kw_only=True)
class GuestProcess:
    """A process of the instance, in a process group of its own."""

    guest: Guest
    number: int
    ending: asyncio.Future[Ending] = field(repr=False)

    async def wait(self) -> Ending:
        """Wait for the end of the process. Cancelling the wait does not affect the process."""
        return await asyncio.shield(self.ending)

    async def send_signal(self, number: int) -> None:
        """Signal its process group; no error if it is gone."""
        await self.guest.send({"op": "signal", "id": self.number, "signal": number})


class Guest:
    """A running init. ``on_power_off`` is called once if the instance powers itself off, or if its init dies unexpectedly."""

    def __init__(self, *, name: str, log: Path, marker: str, on_power_off: Callable[[], None]) -> None:
        self._name = name
        self._log = log
        self._marker = marker
        self._on_power_off = on_power_off
        self._endings: dict[int, asyncio.Future[Ending]] = {}
        self._last_number = 0
        self._sending = asyncio.Lock()
        self._childless = asyncio.Event()
        self._up = asyncio.Event()
        self._is_ending = False
        self._is_dead = False

    async def start(self) -> None:
        """Start the init and wait until it is ready."""
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs, self._log.open("ab") as log:
            argv = [sys.executable, "-I", "-S", str(INIT_SCRIPT), str(theirs.fileno()), self._name]
            self._process = subprocess.Popen(  # noqa: S603
                argv, env={}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=(theirs.fileno(),), cwd="/",
            )  # fmt: skip
        self._listening = asyncio.create_task(self._listen())
        await self._up.wait()

    @property
    def pid(self) -> int:
        """Process id of the init."""
        return self._process.pid

    async def spawn(self, command: Command, stdio: Sequence[int]) -> GuestProcess:
        """Start a process with the three standard streams ``stdio``; the caller closes its own copies of them."""
        self._last_number += 1
        number = self._last_number
        ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        if self._is_dead:
            ending.set_result(Ending(signal=signal.SIGKILL))
        else:
            self._endings[number] = ending
        request = {"op": "spawn", "id": number, "path": command.path, "argv": list(command.argv)}
        request |= {"cwd": str(command.cwd), "env": dict(command.env), "tty": command.tty}
        await self.send(request, stdio)
        return GuestProcess(guest=self, number=number, ending=ending)

    async def terminate_all(self) -> None:
        """Send SIGTERM to every process, and wait until all are gone (possibly for ever: use a timeout)."""
        if self._is_dead:
            return
        self._childless.clear()
        await self.send({"op": "terminate"})
        await self._childless.wait()

    async def limit_files(self, limit_bytes: int | None) -> None:
        """Limit the size of files (None: no limit)."""
        await self.send({"op": "limit", "bytes": limit_bytes})

    async def freeze(self) -> None:
        """Stop every process except the init, which still has to end them."""
        await asyncio.to_thread(signal_marked, self._marker, signal.SIGSTOP)

    async def end(self) -> None:
        """Kill every process and the init itself. Idempotent."""
        self._is_ending = True
        await self.send({"op": "kill"})
        self._shut_control()
        await self._listening
        await asyncio.to_thread(self._reap)

    async def send(self, request: Mapping[str, object], fds: Sequence[int] = ()) -> None:
        """Send one request. If the init is gone the request is lost, and all processes count as killed.

        Cancelling the caller does not leave half a request behind.
        """
        await asyncio.shield(asyncio.ensure_future(self._send_line(json.dumps(request).encode() + b"\n", fds)))

    async def _send_line(self, line: bytes, fds: Sequence[int]) -> None:
        with contextlib.suppress(OSError):
            async with self._sending:
                sent = await self._send_fds(line, fds) if fds else 0
                await asyncio.get_running_loop().sock_sendall(self._control, line[sent:])

    async def _send_fds(self, line: bytes, fds: Sequence[int]) -> int:
        while True:
            try:
                return socket.send_fds(self._control, [line], list(fds))
            except BlockingIOError:
                await wait_writable(self._control)

    async def _listen(self) -> None:
        """Handle the messages of the init until its end."""
        loop = asyncio.get_running_loop()
        text = b""
        while True:
            try:
                data = await loop.sock_recv(self._control, 65536)
            except OSError:
                break
            if not data:
                break
            *lines, text = (text + data).split(b"\n")
            for line in lines:
                self._handle(json.loads(line))
        self._end_all()

    def _handle(self, message: Mapping[str, object]) -> None:
        match message:
            case {"event": "up"}:
                self._up.set()
            case {"event": "childless"}:
                self._childless.set()
            case {"event": "power_off"}:
                self._on_power_off()
            case {"id": int(number), "exit": int(code)}:
                self._endings.pop(number).set_result(Ending(code=code))
            case {"id": int(number), "signal": int(signal_number), "core": bool(core)}:
                self._endings.pop(number).set_result(Ending(signal=signal_number, dumped_core=core))

    def _end_all(self) -> None:
        """Mark every process as killed: the init is gone, so they are gone too, or soon will be."""
        self._is_dead = True
        for ending in self._endings.values():
            ending.set_result(Ending(signal=signal.SIGKILL))
        self._endings.clear()
        self._childless.set()
        self._up.set()
        if not self._is_ending:
            self._on_power_off()

    def _shut_control(self) -> None:
        """Half-close the socket, by which the init ends; the descriptor stays open until the listener has finished."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    def _reap(self) -> None:
        """Wait for the init (in a thread), and kill processes that escaped it."""
        try:
            code = self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._control.close()
        if code != 0 or not sys.platform.startswith("linux"):
            kill_marked(self._marker)


async def wait_writable(channel: socket.socket) -> None:
    """Wait until the socket is writable."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(channel, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(channel)


def kill_marked(marker: str) -> None:
    """Kill the processes whose environment holds ``marker``: for an init that was killed, or a system without subreapers."""
    signal_marked(marker, signal.SIGKILL)


def signal_marked(marker: str, number: signal.Signals) -> None:
    """Signal the processes whose environment holds ``marker`` (``NAME=value``)."""
    import psutil  # imported here: 3 MB for a rare case

    name, _, value = marker.partition("=")
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(name) == value:
                process.send_signal(number)
