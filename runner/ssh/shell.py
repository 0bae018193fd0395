"""A remote shell that waits for commands, in one channel of an SSH connection. Imports AsyncSSH: load it lazily."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import asyncssh

from runner.errors import RemoteError
from runner.ssh.line import last_line, quick_line

T = TypeVar("T")
Sink = Callable[[int, bytes], None]

STDOUT, STDERR = 1, 2
# A larger stdin has a shell of its own, which ends with it.
MOST_QUICK_BYTES = 1 << 18
_DIAGNOSIS_BYTES = 2000


class ConnectionLostError(Exception):
    """The connection ended before the command's exit code arrived. Its effects are unknown."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One command: ``line`` for the remote shell, ``stdin``, and ``sink`` for output that is not to be collected.

    ``line`` and ``stdin`` may be functions: they are called for each try. ``is_quick``: the command is ours, leaves nothing behind that writes to
    its streams and reads no more stdin than it is given; it may then share a shell with others.
    """

    line: str | Callable[[], str]
    stdin: Callable[[], Iterable[bytes]] | bytes = b""
    sink: Sink | None = None
    is_quick: bool = False


@dataclass(kw_only=True)
class Ended:
    """The result of a command: exit code (None: killed by ``signal``) and output, if it was collected. ``tries``: how often it was run."""

    tries: int = 1
    exit_code: int | None = None
    signal: str = ""
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


class Shell(asyncssh.SSHClientSession[bytes]):
    """A remote shell. ``ready`` is done when it has announced itself."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._received = {STDOUT: bytearray(), STDERR: bytearray()}
        self._announced: set[int] = set()
        self._result = Ended()
        self._sink: Sink = self._collect
        self._writable = asyncio.Event()
        self._writable.set()
        self._reads_exactly = False
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self._answered: asyncio.Future[None] | None = None
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None

    @property
    def is_usable(self) -> bool:
        """Whether it can take another command."""
        return not self.ended.done() and self.channel is not None and not self.channel.is_closing()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Take the channel, which is open; AsyncSSH calls this."""
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take output; AsyncSSH calls this."""
        stream = STDERR if datatype == asyncssh.EXTENDED_DATA_STDERR else STDOUT
        if stream in self._announced:
            self._sink(stream, data)
        else:
            self._await_announcement(stream, data)

    def _await_announcement(self, stream: int, data: bytes) -> None:
        received = self._received[stream]
        received += data
        at = received.find(self._marker.encode())
        end = received.find(b"\n", at)
        if at < 0 or end < 0:
            del received[:-_DIAGNOSIS_BYTES]
            return
        self._announced.add(stream)
        if stream == STDOUT:
            self._reads_exactly = received[at:end].endswith(b" 0")
        if len(self._announced) == 2 and not self.ready.done():
            self.ready.set_result(None)

    def _collect(self, stream: int, data: bytes) -> None:
        (self._result.stdout if stream == STDOUT else self._result.stderr).extend(data)

    def _collect_answer(self, stream: int, data: bytes) -> None:
        self._collect(stream, data)
        if (
            self._answered is None
            or self._answered.done()
            or not self._result.stderr.endswith(f"\n{self._marker}\n".encode())
        ):
            return
        at = self._result.stdout.rfind(f"\n{self._marker} ".encode())
        if at >= 0 and self._result.stdout.endswith(b"\n"):
            self._result.exit_code = int(self._result.stdout[at + len(self._marker) + 2 :])
            del self._result.stdout[at:]
            del self._result.stderr[-len(self._marker) - 2 :]
            self._answered.set_result(None)

    def exit_status_received(self, status: int) -> None:
        """Note that the command has ended; AsyncSSH calls this."""
        self._result.exit_code = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Note that the command was killed; AsyncSSH calls this."""
        self._result.signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the channel has closed, with or without an exit code; AsyncSSH calls this."""
        self._writable.set()
        has_ended = self._result.exit_code is not None or bool(self._result.signal)
        lost = ConnectionLostError(str(exc or "the connection was closed"))
        if not self.ended.done():
            if has_ended:
                self.ended.set_result(self._result)
            else:
                fail_quietly(self.ended, lost)
        if not self.ready.done():
            fail_quietly(self.ready, self._explain_silence() if has_ended else lost)
        if self._answered is not None and not self._answered.done():
            fail_quietly(self._answered, lost)

    def _explain_silence(self) -> RemoteError:
        said = b" ".join(bytes(part).strip() for part in self._received.values()).decode("utf-8", "replace").strip()
        message = f"the remote account does not run commands (its shell ended with {self._result.exit_code}): {said or 'no output'}"
        return RemoteError(
            message, remedy="the account needs a login shell that starts /bin/sh, and start-up files that do not exit"
        )

    def pause_writing(self) -> None:
        """Stop writing for now; AsyncSSH calls this."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Write again; AsyncSSH calls this."""
        self._writable.set()

    async def perform(self, call: Call) -> Ended:
        """Run a call and wait for its end. The shell is usable afterwards only if the call was quick and its stdin small.

        Raises: ConnectionLostError. Cancelling closes the channel.
        """
        line = call.line() if callable(call.line) else call.line
        quick_stdin = self._quick_stdin(call)
        try:
            if quick_stdin is not None:
                return await self._perform_quick(line, quick_stdin)
            self._sink = call.sink or self._collect
            pieces = (call.stdin,) if isinstance(call.stdin, bytes) else call.stdin()
            await self._feed(last_line(self._marker, line), pieces, at_end=True)
            ended = await asyncio.shield(self.ended)
        except BaseException:
            self.close()
            raise
        self.close()
        return ended

    def _quick_stdin(self, call: Call) -> bytes | None:
        """Return the whole stdin of a call that can share a shell, None if it cannot."""
        if not call.is_quick:
            return None
        stdin = call.stdin if isinstance(call.stdin, bytes) else take_at_most(call.stdin(), MOST_QUICK_BYTES)
        if stdin is None or len(stdin) > MOST_QUICK_BYTES or (stdin and not self._reads_exactly):
            return None
        return stdin

    async def _perform_quick(self, line: str, stdin: bytes) -> Ended:
        self._result = Ended()
        self._sink = self._collect_answer
        self._answered = asyncio.get_running_loop().create_future()
        if self.ended.done():
            raise ConnectionLostError("the shell has ended")
        await self._feed(quick_line(self._marker, line, len(stdin)), [stdin], at_end=False)
        await asyncio.shield(self._answered)
        answer, self._result = self._result, Ended()
        return answer

    async def _feed(self, line: str, pieces: Iterable[bytes], *, at_end: bool) -> None:
        channel = self.channel
        if channel is None:
            raise ConnectionLostError("the channel is not open")
        source = iter(pieces)
        piece: bytes | None = line.encode("utf-8", "surrogateescape")
        while piece is not None and not self.ended.done():
            # A write fails when the command ended (or the connection did) before it had read everything: ``ended`` says which.
            with contextlib.suppress(OSError):
                channel.write(piece)
            await self._writable.wait()
            piece = next(source, None)
        if at_end:
            with contextlib.suppress(OSError):
                channel.write_eof()

    def close(self) -> None:
        """Close the channel; the remote command, if it still runs, sees the end of its streams."""
        if self.channel is not None:
            self.channel.close()


def fail_quietly(future: asyncio.Future[T], error: Exception) -> None:
    """Set the exception of a future that may have no waiter."""
    future.set_exception(error)
    future.exception()


def take_at_most(pieces: Iterable[bytes], limit: int) -> bytes | None:
    """Return all pieces as one, or None if they are more than ``limit`` bytes."""
    taken = bytearray()
    for piece in pieces:
        taken += piece
        if len(taken) > limit:
            return None
    return bytes(taken)
