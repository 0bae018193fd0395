"""One SSH session on an instance: a command, a shell, SFTP or scp. Behaves like OpenSSH's sshd."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from asyncssh.constants import EXTENDED_DATA_STDERR

from runner.emulator.machines.faults import Faults
from runner.emulator.machines.guest import Command, Ending, Guest, GuestProcess
from runner.emulator.machines.login import GuestSettings, find_shell, login_environment
from runner.emulator.machines.pipes import InputPipe, OutputPipe
from runner.emulator.machines.sftp import HomeFiles, is_scp
from runner.emulator.machines.terminal import Terminal, open_terminal

ACCEPTED_ENVIRONMENT = ("LANG", "LC_*")
ACCEPTED_SIGNALS = frozenset(
    {"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}
)
TERMINAL_DRAIN_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Login:
    """The user who has logged in, and the instance: shared by all sessions of one connection."""

    settings: GuestSettings
    guest: Guest
    faults: Faults
    username: str
    home: Path
    ssh_connection: str


class GuestSession(asyncssh.SSHServerProcess[bytes]):
    """A session. asyncssh serves SFTP and scp through ``HomeFiles``; everything else is a process of the instance."""

    def __init__(self, login: Login, open_sessions: set[GuestSession]) -> None:
        super().__init__(self._refuse, self._make_files, 3, True)
        self._login = login
        self._open_sessions = open_sessions
        self._serves_files = False
        self._process: GuestProcess | None = None
        self._terminal: Terminal | None = None
        self._output_pipes: list[OutputPipe] = []
        self._running: asyncio.Task[None] | None = None
        self._gone = False

    @staticmethod
    def _refuse(_process: asyncssh.SSHServerProcess[bytes]) -> None:
        raise AssertionError("commands are run by session_started")

    def _make_files(self, _channel: object) -> HomeFiles:
        scp = self._channel.get_command() is not None
        return HomeFiles(self._channel, home=self._login.home, faults=self._login.faults, expand_tilde=scp)

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:  # type: ignore[override]
        """Register the session: the channel is open."""
        super().connection_made(chan)
        self._open_sessions.add(self)
        self._channel = chan
        self._input_pipe = InputPipe(chan)

    def pty_requested(self, _term_type: str, _term_size: object, _term_modes: object) -> bool:
        """Allow a terminal."""
        return True

    def shell_requested(self) -> bool:
        """Allow a shell."""
        return True

    def exec_requested(self, _command: str) -> bool:
        """Allow any command."""
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Allow SFTP, the only subsystem."""
        return subsystem == "sftp"

    def session_started(self) -> None:
        """Start the session: all its requests have arrived."""
        self._serves_files = self._channel.get_subsystem() is not None or is_scp(self._channel.get_command())
        if self._serves_files:
            super().session_started()
        else:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Run the process to its end, and send its exit status to the client."""
        process = await (
            self._start_on_pipes() if self._channel.get_terminal_type() is None else self._start_on_terminal()
        )
        self._process = process
        if self._gone:
            self._close_pipes()
            return
        ending = await process.wait()
        drained = asyncio.gather(*(pipe.ended for pipe in self._output_pipes))
        # sshd waits for pipes until the last process has closed them, but not for a terminal.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drained, None if self._terminal is None else TERMINAL_DRAIN_S)
        self._report(ending)

    def _report(self, ending: Ending) -> None:
        if self._channel.is_closing():
            return
        if ending.signal:
            name = signal.Signals(ending.signal).name.removeprefix("SIG")
            self._channel.exit_with_signal(name, ending.dumped_core)
        else:
            self._channel.exit(ending.code)

    async def _start_on_pipes(self) -> GuestProcess:
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        await self._input_pipe.open(stdin[1])
        await self._open_output_pipe(stdout[0], None)
        await self._open_output_pipe(stderr[0], EXTENDED_DATA_STDERR)
        return await self._spawn((stdin[0], stdout[1], stderr[1]), tty=False)

    async def _start_on_terminal(self) -> GuestProcess:
        terminal = self._terminal = open_terminal(self._channel.get_terminal_modes())
        terminal.resize(*self._channel.get_terminal_size()[:2])
        await self._input_pipe.open(os.dup(terminal.master))
        await self._open_output_pipe(terminal.master, None)
        return await self._spawn((terminal.slave, terminal.slave, terminal.slave), tty=True)

    async def _open_output_pipe(self, fd: int, datatype: int | None) -> None:
        pipe = OutputPipe(lambda data: self._deliver(data, datatype))
        await pipe.open(fd)
        self._output_pipes.append(pipe)

    def _deliver(self, data: bytes, datatype: int | None) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._channel.write(data, datatype)

    async def _spawn(self, stdio: tuple[int, int, int], *, tty: bool) -> GuestProcess:
        shell, command = find_shell(), self._channel.get_command()
        argv = [f"-{shell.name}"] if command is None else [shell.name, "-c", command]
        settings, home = self._login.settings, self._login.home
        env = login_environment(settings, self._login.username, self._session_environment())
        wanted = Command(
            path=str(shell), argv=argv, cwd=home if home.is_dir() else settings.spec.root, env=env, tty=tty
        )
        try:
            return await self._login.guest.spawn(wanted, stdio)
        finally:
            for fd in set(stdio):
                os.close(fd)

    def _session_environment(self) -> dict[str, str]:
        sent: Mapping[str, str] = self._channel.get_environment()
        env = {
            name: text for name, text in sent.items() if any(fnmatch.fnmatchcase(name, p) for p in ACCEPTED_ENVIRONMENT)
        }
        client_host, client_port, _host, port = self._login.ssh_connection.split()
        env |= {"SSH_CONNECTION": self._login.ssh_connection, "SSH_CLIENT": f"{client_host} {client_port} {port}"}
        if self._terminal is not None:
            env |= {"SSH_TTY": self._terminal.name, "TERM": self._channel.get_terminal_type() or "dumb"}
        return env

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass input on to the process."""
        if self._serves_files:
            super().data_received(data, datatype)
        else:
            self._input_pipe.write(data)

    def eof_received(self) -> bool:
        """End the process's input. The channel stays open for output."""
        if self._serves_files:
            return super().eof_received()
        if self._channel.get_terminal_type() is None:
            self._input_pipe.write_eof()
        return True

    def pause_writing(self) -> None:
        """Pause the process's output: the client reads slowly."""
        super().pause_writing()
        for pipe in self._output_pipes:
            pipe.pause_reading()

    def resume_writing(self) -> None:
        """Resume the process's output: the client has caught up."""
        super().resume_writing()
        for pipe in self._output_pipes:
            pipe.resume_reading()

    def terminal_size_changed(self, width: int, height: int, _pixwidth: int, _pixheight: int) -> None:
        """Resize the terminal as the client's window."""
        if self._terminal is not None and self._output_pipes and not self._output_pipes[0].ended.done():
            self._terminal.resize(width, height)

    def signal_received(self, signal_name: str) -> None:
        """Send the client's signal to the process at once, ahead of pending input."""
        if self._process is not None and signal_name in ACCEPTED_SIGNALS:
            number = signal.Signals[f"SIG{signal_name}"]
            self._channel.get_connection().create_task(self._process.send_signal(number))

    def break_received(self, _msec: int) -> bool:
        """Ignore a break: there is no serial line."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the pipes when the client is gone. Processes are not killed: they get end of file, or their terminal's hang-up."""
        super().connection_lost(exc)
        self._open_sessions.discard(self)
        self._gone = True
        # A start in progress is not cancelled, or its descriptors would leak: it checks ``_gone`` when it is done.
        if self._running is not None and self._process is not None:
            self._running.cancel()
            self._close_pipes()

    def _close_pipes(self) -> None:
        self._input_pipe.close()
        for pipe in self._output_pipes:
            pipe.transport.close()
