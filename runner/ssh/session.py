"""One SSH connection with shells that wait for a command, so that a call takes one round trip. Imports AsyncSSH: load it lazily.

Opening a channel and starting a shell in it takes two round trips and wakes a login shell. A session therefore keeps shells: quick calls
share them, any other call uses one up, and a spare one is always being started.
"""

from __future__ import annotations

import asyncio
import secrets

import asyncssh

from runner.ssh.line import announce_command
from runner.ssh.shell import Call, ConnectionLostError, Ended, Shell

# OpenSSH allows ten sessions a connection (MaxSessions).
MOST_CHANNELS = 9
MOST_IDLE = 4


class Session:
    """One connection. ``lost`` is true once it cannot be used any more."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        self._limit = MOST_CHANNELS
        self._open = 0
        self._idle: list[Shell] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._wants_spare = True
        self._waiting = 0
        self._changed = asyncio.Event()

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._connection.is_closed()

    async def perform(self, call: Call) -> Ended:
        """Run one call. Raises: ConnectionLostError, RemoteError if the account runs no commands."""
        shell = await self._take_shell()
        try:
            return await shell.perform(call)
        finally:
            self._give_back(shell)

    async def _take_shell(self) -> Shell:
        while True:
            while self._idle:
                shell = self._idle.pop()
                if shell.is_usable:
                    self.prepare_spare()
                    return shell
                self._forget(shell)
            if self._open < self._limit and self._waiting >= len(self._opening):
                return await self._open_shell()
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._waiting += 1
        try:
            self._changed.clear()
            await self._changed.wait()
        finally:
            self._waiting -= 1

    def prepare_spare(self) -> None:
        """Start a shell for the next call, if there is none and the server allows it."""
        if (
            self._wants_spare
            and not self._idle
            and not self._opening
            and self._open < self._limit - 1
            and not self.lost
        ):
            task = asyncio.create_task(self._open_spare())
            self._opening.add(task)
            task.add_done_callback(self._end_opening)

    async def _open_spare(self) -> None:
        self._idle.append(await self._open_shell())

    def _end_opening(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if task.cancelled() or task.exception() is not None:
            # The next call will report the error; starting spares must not become a loop of failures.
            self._wants_spare = False
        self._changed.set()

    def _give_back(self, shell: Shell) -> None:
        if shell.is_usable and len(self._idle) < MOST_IDLE:
            self._idle.append(shell)
        else:
            self._forget(shell)
        self._changed.set()

    def _forget(self, shell: Shell) -> None:
        shell.close()
        self._open -= 1

    async def _open_shell(self) -> Shell:
        self._open += 1
        marker = f"hpc{secrets.token_hex(12)}"
        shell = Shell(marker)
        try:
            await self._connection.create_session(
                lambda: shell, announce_command(marker), encoding=None, request_pty=False
            )
            await shell.ready
        except BaseException as error:
            self._forget(shell)
            self._changed.set()
            if isinstance(error, asyncssh.ChannelOpenError):
                # The server allows fewer sessions than we assumed: as many as are open now.
                self._limit = max(1, min(self._limit, self._open))
                raise ConnectionLostError(f"the server opened no further session: {error.reason}") from error
            if isinstance(error, OSError | asyncssh.Error):
                raise ConnectionLostError(str(error)) from error
            raise
        return shell

    def close(self) -> None:
        """Close the connection and all its channels."""
        for opening in self._opening:
            opening.cancel()
        self._connection.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        await self._connection.wait_closed()
