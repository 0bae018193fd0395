"""A link that survives lost connections: connects when needed, retries with growing delays, asks for passwords. Imports AsyncSSH: load it lazily."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

import asyncssh

from runner.errors import HostKeyError, RemoteError
from runner.ssh.auth import HostKeyCheck, connect_options, explain_connect_error
from runner.ssh.session import Session
from runner.ssh.shell import Call, ConnectionLostError, Ended
from runner.ssh.target import SshTarget
from runner.system.backoff import Backoff

_log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
_CLOSE_LIMIT_S = 3.0


class Link:
    """Calls to one host. Lives in one event loop. Every call must be safe to run twice: after a lost connection it is unknown whether it ran."""

    def __init__(self, target: SshTarget) -> None:
        self.target = target
        self._session: Session | None = None
        self._connecting = asyncio.Lock()
        self._password: str | None = None
        self._closed = False

    async def connect(self) -> Session:
        """Return the live session, or a new one. Raises: RemoteError, HostKeyError."""
        async with self._connecting:
            if self._closed:
                raise RemoteError(f"the connection to {self.target.label} is closed", host=self.target.host)
            if self._session is None or self._session.lost:
                what, begun = "connected" if self._session is None else "connected again", time.monotonic()
                self._session = Session(await self._open())
                _log.info("%s: %s, %.3f s", self.target.label, what, time.monotonic() - begun)
                self._session.prepare_spare()
            return self._session

    async def perform(self, call: Call) -> Ended:
        """Run a call; if the connection is lost, or was before, connect and run it again until the target's ``reconnect_limit_s`` is over.

        Raises: RemoteError, HostKeyError.
        """
        backoff: Backoff | None = None
        tries = 0
        while True:
            connected_at = None
            try:
                session = await self._connect_or_lose()
                connected_at = time.monotonic()
                tries += 1
                ended = await session.perform(call)
            except ConnectionLostError as error:
                reason = str(error)
            else:
                ended.tries = tries
                return ended
            now = time.monotonic()
            if backoff is None or (connected_at is not None and now - connected_at > LONGEST_DELAY_S):
                # The first loss, or one after a time without errors; a long wait for a failed connection does not count as that.
                backoff = Backoff(
                    first_s=FIRST_DELAY_S, longest_s=LONGEST_DELAY_S, budget_s=self.target.reconnect_limit_s
                )
            delay_s = backoff.next_delay_s()
            if delay_s == math.inf:
                _log.info("%s: lost, gave up: %s", self.target.label, reason)
                raise self._explain_loss(reason)
            _log.info("%s: lost, again in %.2f s: %s", self.target.label, delay_s, reason)
            await asyncio.sleep(delay_s)

    async def _connect_or_lose(self) -> Session:
        try:
            return await self.connect()
        except HostKeyError:
            raise
        except RemoteError as error:
            if self._closed:
                raise
            raise ConnectionLostError(error.message) from error

    def _explain_loss(self, reason: str) -> RemoteError:
        message = f"the connection to {self.target.label} was lost and could not be restored within {self.target.reconnect_limit_s:g} s: {reason}"
        return RemoteError(
            message, host=self.target.host, remedy="check that the host is still running; its jobs continue"
        )

    async def _open(self) -> asyncssh.SSHClientConnection:
        ask = self.target.ask_password
        if ask is None or self._password is not None:
            return await self._open_with(self._password)
        for attempt in range(1, self.target.max_attempts + 1):
            password = await self._ask_password(ask, attempt)
            try:
                connection = await self._open_with(password)
            except RemoteError as error:
                if attempt == self.target.max_attempts or not isinstance(error.__cause__, asyncssh.PermissionDenied):
                    raise
            else:
                self._password = password
                return connection
        raise RemoteError(f"no attempt to log in to {self.target.label} is allowed", host=self.target.host)

    async def _ask_password(self, ask: Callable[[str], str | None], attempt: int) -> str:
        again = "" if attempt == 1 else "That was not accepted. "
        answer = await asyncio.to_thread(ask, f"{again}Password for {self.target.label}: ")
        if answer is None:
            raise RemoteError(f"no password was given for {self.target.label}", host=self.target.host)
        return answer

    async def _open_with(self, password: str | None) -> asyncssh.SSHClientConnection:
        check = HostKeyCheck(self.target)
        try:
            return await asyncssh.connect(**connect_options(self.target, check, password))
        except (OSError, asyncssh.Error, TimeoutError, ValueError) as error:
            if check.refusal is not None:
                raise check.refusal from error
            raise explain_connect_error(self.target, error) from error

    async def close(self) -> None:
        """Close the connection. Nothing can be run afterwards."""
        self._closed = True
        if self._session is not None:
            self._session.close()
            try:
                await asyncio.wait_for(self._session.wait_closed(), _CLOSE_LIMIT_S)
            except (TimeoutError, OSError, asyncssh.Error):
                return
