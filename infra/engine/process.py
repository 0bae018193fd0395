"""Child processes of the set-up: their output goes to a log, their progress to the terminal, and they end when we do.

Standard library only, here and in what is imported: this runs before anything is installed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.errors import HpcError, MissingToolError
from runner.system.file_lock import FileLock
from runner.system.files import USUAL_FILE
from runner.system.signals import ending_signals_raised

LAST_LINES = 15
GRACE_S = 10
PROBE_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a child ended; ``last_lines`` is the end of what it printed."""

    exit_code: int
    last_lines: tuple[str, ...]

    def describe_end(self) -> str:
        return "".join(f"\n  | {line}" for line in self.last_lines)


def report(message: str) -> None:
    """One line of progress. Standard output belongs to the command that ``bootstrap`` runs."""
    sys.stderr.write(f"bootstrap: {message}\n")
    sys.stderr.flush()


def run_logged(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    folder: Path | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run ``command``, append its output to ``log``, and hand over each line. An interrupt ends the child too.

    A command that cannot be started ends with 127, as in a shell.
    """
    last_lines: deque[str] = deque(maxlen=LAST_LINES)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        try:
            with _child(command, environment=environment, folder=folder) as child:
                for line in child.stdout or ():
                    file.write(line)
                    last_lines.append(line.rstrip())
                    on_line(line.rstrip())
        except (FileNotFoundError, PermissionError) as error:
            return Outcome(exit_code=127, last_lines=(str(error),))
    return Outcome(exit_code=child.returncode, last_lines=tuple(last_lines))


@contextmanager
def _child(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path | None
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(  # noqa: S603 (commands are built here, not taken from input)
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as child:
        try:
            yield child
        except BaseException:
            _end_child(child)
            raise


def _end_child(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


def read_output(command: Sequence[str], *, environment: Mapping[str, str], folder: Path | None = None) -> str | None:
    """Return what a short command prints, or None if it cannot be started, fails or hangs."""
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@contextmanager
def exclusive_lock(file: Path, *, waiting_for: str) -> Iterator[None]:
    """Lock ``file``, which is created if missing and never changed. The kernel releases the lock when this process ends."""
    with FileLock.of_file(file, mode=USUAL_FILE) as lock:
        lock.acquire(on_wait=lambda: report(f"waiting for another bootstrap, which {waiting_for}"))
        yield


def run_main(action: Callable[[], None]) -> int:
    """Run ``action`` as the whole of a program: print errors as messages, let signals unwind, return the exit code."""
    try:
        with ending_signals_raised():
            action()
    except KeyboardInterrupt:
        report("interrupted; run it again to continue")
        return 128 + signal.SIGINT
    except HpcError as error:
        report(error.message)
        if error.remedy:
            report(f"remedy: {error.remedy}")
        return error.exit_code
    except OSError as error:
        report(f"{error}; run it again to continue")
        return MissingToolError.exit_code
    return 0
