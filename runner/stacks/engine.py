"""The Pulumi CLI as the Automation API runs it, but without its slow calls and with an orderly end. Slow to import.

The Automation API starts the CLI once to select a stack and three times after each ``up`` or ``destroy`` to report what
happened; the event stream has reported that already. It also abandons its child when it is interrupted.

Programs run inline, not as a child of the engine as by hand. Measured in turn with ``pulumi up --event-log`` on a busy computer with two
cores (stack ``base``, embedded cloud, least of five): an ``up`` took 2.5 s against 11.0 s, one without changes 2.5 s against 9.8 s.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from semver import VersionInfo

from runner.errors import MissingToolError, StackError
from runner.stacks.contract import EngineLimit
from runner.stacks.sdk import CommandResult, UncheckedCommand, create_command_error

_log = logging.getLogger(__name__)

OLDEST_CLI = VersionInfo(3, 230, 0)  # bootstrap installs none that is older
FINISH_S = 60.0
CANCEL_S = 30.0
KILL_AFTER_S = 5.0
LIMIT_LOOK_S = 0.1
READER_END_S = 5.0
PRIVATE_UMASK = 0o077  # states and their backups are as private as all our files

# The Automation API's warning when an engine was killed, which ends in a StackError anyway.
warnings.filterwarnings("ignore", message="Error in event stream", category=UserWarning)


class EngineCommand(UncheckedCommand):
    """Runs the CLI in a session of its own: a Ctrl-C in the terminal reaches it once, through us, and not its plugins."""

    def __init__(self, cli_bin: Path, env: Mapping[str, str]) -> None:
        super().__init__(str(cli_bin / "pulumi"), OLDEST_CLI)
        self._env = dict(env) | {"PATH": os.pathsep.join([str(cli_bin), env.get("PATH", os.defpath)])}
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._limit: EngineLimit | None = None

    def within(self, limit: EngineLimit | None) -> EngineCommand:
        """Return the same command with a limit; both share their processes, so ``interrupt`` of either reaches all."""
        limited = copy.copy(self)
        limited._limit = limit
        return limited

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """Run the CLI to its end; an exception in the meantime ends it first (see ``end_engine``).

        Raises:
            CommandError: it ended with an exit code that is not 0.
            StackError: it exceeded its limit, and was ended.
            MissingToolError: there is no CLI.
        """
        process, begun = self._start(args, cwd, additional_env), time.monotonic()
        _log.info("process %d: pulumi %s", process.pid, " ".join(args))
        stdout, stderr = _Reader(process.stdout, on_output), _Reader(process.stderr, on_error, log_as=process.pid)
        try:
            wait_for_engine(process, self._limit)
        except StackError:
            kill_engine(process)
            raise
        except BaseException:
            end_engine(process)
            raise
        finally:
            with self._lock:
                self._running.discard(process)
            texts = stdout.finish(), stderr.finish()
            _log.info("process %d: ended with %s, %.3f s", process.pid, process.returncode, time.monotonic() - begun)
        ended_by = [f"error: the engine was ended by {_signal_name(process)}"] if process.returncode < 0 else []
        result = CommandResult(stdout=texts[0], stderr="\n".join([texts[1], *ended_by]), code=process.returncode)
        if result.code != 0:
            raise create_command_error(result)
        return result

    def interrupt(self) -> None:
        """Ask every running CLI to cancel."""
        for process in self._all_running():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill every running CLI, with its plugins."""
        for process in self._all_running():
            kill_engine(process)

    def _all_running(self) -> list[subprocess.Popen[str]]:
        with self._lock:
            return list(self._running)

    def _start(self, args: list[str], cwd: str, additional_env: Mapping[str, str]) -> subprocess.Popen[str]:
        try:
            process = subprocess.Popen(  # noqa: S603
                [self.command, "--non-interactive", *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=self._env | dict(additional_env) | {"PULUMI_AUTOMATION_API": "true"},
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                umask=PRIVATE_UMASK,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise MissingToolError(f"no Pulumi CLI: {error}", remedy="run ./bootstrap once") from error
        with self._lock:
            self._running.add(process)
        return process


class _Reader:
    """Reads a pipe in a thread, so that the child never waits for us. ``log_as``: log it under this number of a process."""

    def __init__(
        self, pipe: IO[str] | None, on_line: Callable[[str], Any] | None, *, log_as: int | None = None
    ) -> None:
        self._pipe = pipe
        self._log_as = log_as
        self._on_line = on_line
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe or ():
            self._lines.append(line.rstrip())
            if self._log_as is not None:
                _log.info("process %d says: %s", self._log_as, line.rstrip())
            if self._on_line:
                self._on_line(line.rstrip())

    def finish(self) -> str:
        """Return what was read. A plugin that runs longer than the CLI may hold the pipe open, which is then left to its thread."""
        self._thread.join(READER_END_S)
        if self._pipe and not self._thread.is_alive():
            self._pipe.close()
        return "\n".join(self._lines)


def end_engine(process: subprocess.Popen[str]) -> None:
    """Let the engine finish; then, or at a second Ctrl-C, ask it to cancel; then, or at a third, kill it.

    Cancelling is not the first choice: the provider forgets a VM that is just being created, which would then be in no state.
    """
    for limit_s, is_cancelled in ((FINISH_S, False), (CANCEL_S, True)):
        if is_cancelled:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        try:
            process.wait(limit_s)
            return
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            continue
    _kill_group(process)


def wait_for_engine(process: subprocess.Popen[str], limit: EngineLimit | None) -> None:
    """Wait for its end.

    Raises:
        StackError: the limit was reached, or there is no time left.
    """
    give_up_at = None if limit is None else time.monotonic() + limit.limit_s
    while process.poll() is None:
        if limit is not None and limit.hurry.is_set():
            raise StackError("the engine was ended: there was no time to wait for it")
        if give_up_at is not None and time.monotonic() > give_up_at:
            raise StackError(f"the engine was ended: it had not finished after {limit.limit_s if limit else 0:.0f} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(None if limit is None else LIMIT_LOOK_S)


def kill_engine(process: subprocess.Popen[str]) -> None:
    """Ask the engine to cancel, and after a moment kill it with its plugins."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(KILL_AFTER_S)
    _kill_group(process)


def _signal_name(process: subprocess.Popen[str]) -> str:
    with contextlib.suppress(ValueError):  # a real-time signal has no name
        return signal.Signals(-process.returncode).name
    return f"signal {-process.returncode}"


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
