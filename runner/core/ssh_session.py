"""One SSH connection with shells that wait for a command, so that a call costs one round trip. Imports AsyncSSH: load it lazily.

Opening a channel and starting a shell in it takes two round trips. A session therefore keeps a few shells ready (more when calls come quickly);
each runs one command and is gone, which keeps exit codes, the two output streams and the end of stdin exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import asyncssh

from runner.core.ssh_line import announce_command
from runner.errors import RemoteError

Sink = Callable[[int, bytes], None]

STDOUT, STDERR = 1, 2
# OpenSSH allows ten sessions a connection (MaxSessions).
MAX_CHANNELS = 9
MAX_SPARES = 4
_DIAGNOSIS_BYTES = 2000


class ConnectionLostError(Exception):
    """The connection ended before the command's exit code came. What the command did is not known."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One command: ``line`` for the remote shell, ``stdin``, and ``sink`` for output that is not to be collected.

    ``line`` and ``stdin`` may be functions: they are called for each try.
    """

    line: str | Callable[[], str]
    stdin: Callable[[], Iterable[bytes]] | bytes = b""
    sink: Sink | None = None


@dataclass(kw_only=True)
class Ended:
    """What a command left: exit code (None: killed by ``signal``) and output, if it was collected. ``tries``: how often it was run."""

    tries: int = 1
    exit_code: int | None = None
    signal: str = ""
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


class Shell(asyncssh.SSHClientSession[bytes]):
    """A remote shell that has announced itself and waits for its one line."""

    def __init__(self, marker: str) -> None:
        self._marker = marker.encode() + b"\n"
        self._heard = {STDOUT: bytearray(), STDERR: bytearray()}
        self._announced: set[int] = set()
        self._result = Ended()
        self._sink: Sink = self._collect
        self._writable = asyncio.Event()
        self._writable.set()
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """AsyncSSH: the channel is open."""
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """AsyncSSH: output came."""
        stream = STDERR if datatype == asyncssh.EXTENDED_DATA_STDERR else STDOUT
        if stream in self._announced:
            self._sink(stream, data)
        else:
            self._await_marker(stream, data)

    def _await_marker(self, stream: int, data: bytes) -> None:
        heard = self._heard[stream]
        heard += data
        at = heard.find(self._marker)
        if at < 0:
            del heard[: -_DIAGNOSIS_BYTES - len(self._marker)]
            return
        self._announced.add(stream)
        rest = bytes(heard[at + len(self._marker) :])
        if rest:
            self._sink(stream, rest)
        if len(self._announced) == 2 and not self.ready.done():
            self.ready.set_result(None)

    def _collect(self, stream: int, data: bytes) -> None:
        (self._result.stdout if stream == STDOUT else self._result.stderr).extend(data)

    def exit_status_received(self, status: int) -> None:
        """AsyncSSH: the command has ended."""
        self._result.exit_code = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """AsyncSSH: the command was killed."""
        self._result.signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        """AsyncSSH: the channel is gone, with or without an exit code before."""
        self._writable.set()
        known = self._result.exit_code is not None or self._result.signal
        if not self.ended.done():
            if known:
                self.ended.set_result(self._result)
            else:
                self.ended.set_exception(ConnectionLostError(str(exc or "the connection was closed")))
                self.ended.exception()
        if not self.ready.done():
            self.ready.set_exception(self._explain_silence() if known else ConnectionLostError(str(exc or "closed")))
            self.ready.exception()

    def _explain_silence(self) -> RemoteError:
        said = b" ".join(bytes(heard).strip() for heard in self._heard.values()).decode("utf-8", "replace").strip()
        message = f"the remote account does not run commands (its shell ended with {self._result.exit_code}): {said or 'no output'}"
        return RemoteError(
            message, remedy="the account needs a login shell that starts /bin/sh, and start-up files that do not exit"
        )

    def pause_writing(self) -> None:
        """AsyncSSH: enough for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """AsyncSSH: go on."""
        self._writable.set()

    async def perform(self, call: Call) -> Ended:
        """Run the call's line and wait for its end. Cancelling closes the channel."""
        if call.sink is not None:
            self._sink = call.sink
        try:
            await self._feed(call)
            return await asyncio.shield(self.ended)
        finally:
            self.close()

    async def _feed(self, call: Call) -> None:
        channel = self.channel
        if channel is None:
            raise ConnectionLostError("the channel is not open")
        line = call.line() if callable(call.line) else call.line
        pieces = iter((call.stdin,) if isinstance(call.stdin, bytes) else call.stdin())
        piece: bytes | None = line.encode("utf-8", "surrogateescape") + b"\n"
        while piece is not None and not self.ended.done():
            # A write fails when the command ended (or the connection did) before it had read everything: ``ended`` says which.
            with contextlib.suppress(OSError):
                channel.write(piece)
            await self._writable.wait()
            piece = next(pieces, None)
        with contextlib.suppress(OSError):
            channel.write_eof()

    def close(self) -> None:
        """Close the channel; the remote command, if it still runs, sees the end of its streams."""
        if self.channel is not None:
            self.channel.close()


class Session:
    """One connection. ``lost`` is true once it cannot be used any more."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        self._limit = MAX_CHANNELS
        self._open = 0
        self._freed = asyncio.Event()
        self._spares: list[asyncio.Task[Shell]] = []
        self._spares_wanted = 1

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._connection.is_closed()

    async def perform(self, call: Call) -> Ended:
        """Run one call in a shell of its own. Raises: ConnectionLostError."""
        opening = await self._take_shell()
        self.prepare_spares()
        try:
            return await (await opening).perform(call)
        finally:
            self._give_back(opening)

    async def _take_shell(self) -> asyncio.Task[Shell]:
        while not self._spares:
            self._spares_wanted = min(self._spares_wanted + 1, MAX_SPARES)
            if self._open < self._limit:
                return self._begin_opening()
            self._freed.clear()
            await self._freed.wait()
        return self._spares.pop(0)

    def prepare_spares(self) -> None:
        """Open shells for the calls to come, as far as the server allows."""
        while not self.lost and len(self._spares) < self._spares_wanted and self._open < self._limit - 1:
            spare = self._begin_opening()
            spare.add_done_callback(self._drop_failed_spare)
            self._spares.append(spare)

    def _begin_opening(self) -> asyncio.Task[Shell]:
        self._open += 1
        return asyncio.create_task(self._open_shell())

    def _give_back(self, opening: asyncio.Task[Shell]) -> None:
        opening.cancel()
        self._open -= 1
        self._freed.set()

    def _drop_failed_spare(self, spare: asyncio.Task[Shell]) -> None:
        if spare in self._spares and (spare.cancelled() or spare.exception() is not None):
            self._spares.remove(spare)
            self._spares_wanted = 0
            self._give_back(spare)

    async def _open_shell(self) -> Shell:
        marker = f"hpc{secrets.token_hex(8)}"
        shell = Shell(marker)
        try:
            await self._connection.create_session(
                lambda: shell, announce_command(marker), encoding=None, request_pty=False
            )
            await shell.ready
        except asyncssh.ChannelOpenError as error:
            # The server allows fewer sessions than we thought; what is open now is what it allows.
            self._limit = max(2, min(self._limit, self._open - 1))
            raise ConnectionLostError(f"the server opened no further session: {error.reason}") from error
        except (OSError, asyncssh.Error) as error:
            raise ConnectionLostError(str(error)) from error
        return shell

    def close(self) -> None:
        """Close the connection and every channel of it."""
        for opening in self._spares:
            opening.cancel()
        self._connection.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await self._connection.wait_closed()
