"""SSH for plain functions: one connection per host, restored when it is lost, with the errors of ``runner.errors``.

AsyncSSH is loaded when a connection is opened, not before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import HostKeyError, RemoteCommandError, RemoteError
from runner.ssh.line import command_line, with_newlines
from runner.ssh.loop import LoopClosedError, LoopThread, no_farewell
from runner.ssh.target import SshTarget

if TYPE_CHECKING:
    from runner.ssh.link import Link
    from runner.ssh.shell import Ended

T = TypeVar("T")
Stdin = Callable[[], Iterable[bytes]] | bytes
Sink = Callable[[int, bytes], None]

_LAST_LINES = 20
_BOOT_DELAYS_S = (0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a remote command. ``exit_code``: None if a signal killed it. ``tries``: more than 1 if the connection was lost meanwhile."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    signal: str = ""
    tries: int = 1

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace").strip()


class Connection:
    """A connection that is opened at once and restored when it is lost. Safe for many threads. Close it, or use it in ``with``.

    A call whose connection is lost is RUN AGAIN on the next one: use idempotent commands.

    Raises: RemoteError, HostKeyError from the constructor and from every call.
    """

    def __init__(self, target: SshTarget) -> None:
        self.target = target
        self._loop = LoopThread(f"ssh {target.label}")
        try:
            self.link = self._loop.run(_make_link(target))
        except BaseException:
            self._loop.close(no_farewell)
            raise

    def run(
        self,
        words: Sequence[str],
        *,
        folder: str | None = None,
        stdin: Stdin = b"",
        on_output: Sink | None = None,
        check: bool = False,
    ) -> Result:
        """Run one command without any shell reading its words. ``on_output(stream, bytes)`` gets output as it arrives (1 stdout, 2 stderr), in
        the thread of the connection; it is then not in the result.

        Raises: RemoteCommandError if ``check`` and the exit code is not 0.
        """
        result = self.run_line(command_line(words, folder=folder), stdin=stdin, on_output=on_output)
        if check and result.exit_code != 0:
            raise self.command_error(" ".join(words), result)
        return result

    def run_script(self, script: str, *arguments: str, stdin: Stdin = b"", on_output: Sink | None = None) -> Result:
        """Run a POSIX shell script that needs nothing on the remote host; ``$1`` … are the arguments. Its stdin is free."""
        line = command_line(["/bin/sh", "-c", script, "sh", *arguments])
        return self.run_line(line, stdin=stdin, on_output=on_output)

    def run_line(
        self, line: str, *, stdin: Stdin = b"", on_output: Sink | None = None, is_quick: bool = False
    ) -> Result:
        """Run one line of POSIX shell (quoted by the caller, see ``ssh.line``).

        ``is_quick``: our own command, which leaves no process behind and reads no more stdin than it is given; it then takes one round trip.
        """
        return self.call(self._run_line(line, stdin, on_output, is_quick))

    async def _run_line(self, line: str, stdin: Stdin, on_output: Sink | None, is_quick: bool) -> Result:
        from runner.ssh.shell import Call

        return as_result(
            await self.link.perform(Call(line=with_newlines(line), stdin=stdin, sink=on_output, is_quick=is_quick))
        )

    def command_error(self, command: str, result: Result) -> RemoteCommandError:
        """Return the error for a command that failed."""
        code = f"exit code {result.exit_code}" if result.exit_code is not None else f"signal {result.signal}"
        lines = (result.error_text or result.text).splitlines()[-_LAST_LINES:]
        said = f": {lines[-1]}" if lines else ""
        return RemoteCommandError(
            f"{command.split(maxsplit=1)[0]} on {self.target.label} ended with {code}{said}",
            host=self.target.host,
            command=command,
            exit_code_remote=result.exit_code,
            last_lines=lines,
        )

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the connection's loop and wait for it."""
        try:
            return self._loop.run(work)
        except LoopClosedError as error:
            raise self._closed_error() from error

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine in the connection's loop."""
        try:
            return self._loop.start(work)
        except LoopClosedError as error:
            raise self._closed_error() from error

    def _closed_error(self) -> RemoteError:
        return RemoteError(f"the connection to {self.target.label} is closed", host=self.target.host)

    def close(self) -> None:
        """Close the connection and its thread. Does nothing the second time."""
        self._loop.close(self.link.close)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _make_link(target: SshTarget) -> Link:
    from runner.ssh.link import Link

    link = Link(target)
    await link.connect()
    return link


def as_result(ended: Ended) -> Result:
    """Return a session's result as a plain value."""
    return Result(
        exit_code=ended.exit_code,
        signal=ended.signal,
        stdout=bytes(ended.stdout),
        stderr=bytes(ended.stderr),
        tries=ended.tries,
    )


def wait_for_ssh(
    target: SshTarget | Callable[[], SshTarget | None],
    *,
    timeout_s: float,
    on_wait: Callable[[str], None] = lambda _reason: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Connection:
    """Connect to a host that is booting: try until the login succeeds or the time limit is reached.

    ``target`` may be a function that is asked before each try (None: not known yet, e.g. host keys not published). ``on_wait`` gets the reason of
    each failed try. A host key that does not match is no reason to wait.

    Raises: RemoteError at the limit, with the last reason; HostKeyError at once.
    """
    give_up_at = time.monotonic() + timeout_s
    tries = 0
    while True:
        reason = "it has not published its address or host key yet"
        found = target() if callable(target) else target
        if found is not None:
            try:
                return Connection(found)
            except HostKeyError:
                raise
            except RemoteError as error:
                reason = error.message
        on_wait(reason)
        delay_s = _BOOT_DELAYS_S[min(tries, len(_BOOT_DELAYS_S) - 1)]
        tries += 1
        if time.monotonic() + delay_s > give_up_at:
            where = found.label if found is not None else "the VM"
            remedy = "check its serial console, and that the firewall allows SSH from this address"
            raise RemoteError(f"{where} did not answer over SSH within {timeout_s:g} s: {reason}", remedy=remedy)
        sleep(delay_s)
