"""The log of a command, and the report of its crash: files in the state folder that only their owner can read.

A command logs to ``logs/<verb>.log`` until it has a batch or bake, and then to ``logs/<batch>.log``: a record with a ``batch``
(``extra=``) says that it has one now. Earlier lines are in both. An error of these files never ends a command. Only this
module attaches handlers, while a command runs.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from runner.model import names
from runner.model.redaction import Redaction, is_secret_name
from runner.wiring.configuration import find_state_folder

FOLDER, CRASHES = "logs", "crashes"
SECRET_FILES = ("passphrase", "google/passphrases/*", "local/cloud/*token*")
LARGEST_BYTES = 8 << 20
OLDER_FILES = 3  # of each log, when it has grown too large
LOGS_KEPT, CRASHES_KEPT = 100, 20
LINES_REMEMBERED, LINES_IN_REPORT = 2000, 200
FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(process)d %(threadName)s %(name)s: %(message)s"
NOISY = ("urllib3", "asyncssh", "asyncio", "google", "grpc", "pulumi")
OUR_LOGGER = "runner"
NOT_PROPAGATED = "google"  # its records do not reach the root logger once one of its packages is loaded

_log = logging.getLogger(__name__)


class _Formatter(logging.Formatter):
    """Lines in UTC, without secrets, as are the tracebacks."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__(FORMAT)
        self._redaction = redaction

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        """Format the time of a record, in UTC."""
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a line, or as several if it has a traceback."""
        return self._redaction.apply(super().format(record))


class CommandLog(logging.Handler):
    """The log of the running command. Several processes can write to one file: each line is appended in one write."""

    def __init__(
        self,
        state_folder: Path,
        verb: str,
        arguments: Mapping[str, Any],
        redaction: Redaction,
        *,
        largest_bytes: int = LARGEST_BYTES,
    ) -> None:
        super().__init__()
        self._largest_bytes = largest_bytes
        self.verb, self.arguments = verb, arguments
        self.state_folder = state_folder
        self._redaction = redaction
        self._lines: deque[str] = deque(maxlen=LINES_REMEMBERED)
        self._file = _AppendedFile(state_folder / FOLDER / f"{verb}.log", largest_bytes)
        self.setFormatter(_Formatter(redaction))
        self.learn_secrets()

    @property
    def path(self) -> Path | None:
        """The file of the log; None if it cannot be written."""
        return self._file.path if self._file.is_written else None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. A line that cannot be written is lost; nothing is raised."""
        try:
            batch = getattr(record, "batch", "")
            if batch:
                self.switch_to(str(batch))
            line = self.format(record) + "\n"
        except Exception:  # such as a message that does not match its arguments: that must not end a batch
            return
        self._lines.append(line)
        self._file.append(line)

    def switch_to(self, name: str) -> None:
        """Log to the file of a batch or bake from now on, and copy earlier lines into it."""
        path = self.state_folder / FOLDER / f"{name}.log"
        if not names.is_batch_name(name) or path == self._file.path:
            return
        self.learn_secrets()
        self._file.close()
        self._file = _AppendedFile(path, self._largest_bytes)
        self._file.append(self.hide_secrets("".join(self._lines)))

    def learn_secrets(self) -> None:
        """Read the secrets that are in the state folder now."""
        with contextlib.suppress(OSError):
            for file in [file for pattern in SECRET_FILES for file in self.state_folder.glob(pattern)]:
                with contextlib.suppress(OSError, ValueError):
                    self._redaction.learn(file.read_text(encoding="utf-8").split())

    def hide_secrets(self, text: str) -> str:
        """Return ``text`` without secrets."""
        return self._redaction.apply(text)

    def report_crash(self, error: BaseException) -> Path | None:
        """Write a report for the maintainers; return its file, or None if it cannot be written."""
        path = self.state_folder / CRASHES / f"{self.verb}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
        text = self.hide_secrets(_report(self.verb, self.arguments, error, [*self._lines][-LINES_IN_REPORT:]))
        file = _AppendedFile(path, self._largest_bytes)
        file.append(text)
        file.close()
        _keep_newest(path.parent, "*.txt", CRASHES_KEPT)
        return path if file.is_written else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class _AppendedFile:
    """A private file that grows line by line. The first process that finds it too large rotates it."""

    def __init__(self, path: Path, largest_bytes: int) -> None:
        self.path = path
        self._largest_bytes = largest_bytes
        self.is_written = False
        self._handle: int | None = None

    def append(self, text: str) -> None:
        """Append the text, if possible."""
        content = text.encode("utf-8", "backslashreplace")
        try:
            if self._handle is None or not self._is_current(self._handle):
                self._reopen()
            if self._handle is not None:
                self.is_written = os.write(self._handle, content) == len(content)
        except OSError:
            self.close()
            self.is_written = False

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)

    def _is_current(self, handle: int) -> bool:
        """Return whether the open file still has its name and is not too large; rotate it if it is."""
        own = os.fstat(handle)
        try:
            is_there = os.path.samestat(own, self.path.stat())
        except OSError:
            return False
        if is_there and own.st_size > self._largest_bytes:
            self._rotate()
            return False
        return is_there

    def _reopen(self) -> None:
        self.close()
        for folder in (self.path.parent.parent, self.path.parent):  # the first log may create the state folder
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._handle = os.open(self.path, flags, 0o600)

    def _rotate(self) -> None:
        older = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, OLDER_FILES + 1))]
        for newer, name in reversed(list(itertools.pairwise(older))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(name)


@contextlib.contextmanager
def command_log(
    environment: Mapping[str, str], verb: str, arguments: Mapping[str, Any], *, batch: str = "", debug: bool = False
) -> Iterator[CommandLog]:
    """Log to the file of ``batch`` inside the block, if that is the name of a batch or bake, else to that of the verb.

    ``debug``: in more detail, and to standard error too. Other packages log only warnings.
    """
    redaction = Redaction(value for name, value in environment.items() if is_secret_name(name))
    log = CommandLog(find_state_folder(environment), verb, arguments, redaction)
    log.switch_to(batch)
    handlers: list[logging.Handler] = [log]
    if debug:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[-1].setFormatter(log.formatter)
    with _attached(handlers, logging.DEBUG if debug else logging.INFO):
        _log.info("%s begins: version %s, Python %s", verb, own_version(), platform.python_version())
        try:
            yield log
        finally:
            _log.info("%s ends", verb)
            for handler in handlers:
                handler.close()
            _keep_newest(log.state_folder / FOLDER, "*.log*", LOGS_KEPT)


def current_log() -> CommandLog | None:
    """Return the log of the running command, if there is one."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, CommandLog)), None)


def own_version() -> str:
    """Return the installed version of this project, else that of the checkout."""
    try:
        return metadata.version(names.APP)
    except metadata.PackageNotFoundError:
        import tomllib

        with contextlib.suppress(OSError, ValueError, KeyError):
            project = Path(__file__).resolve().parents[2] / "pyproject.toml"
            return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
        return "unknown"


@contextlib.contextmanager
def _attached(handlers: list[logging.Handler], level: int) -> Iterator[None]:
    ours = logging.getLogger(OUR_LOGGER)
    apart = logging.getLogger(NOT_PROPAGATED)
    targets, propagated = (logging.getLogger(), apart), apart.propagate
    levels = {logger: logger.level for logger in (*targets, ours, *map(logging.getLogger, NOISY))}
    for logger in levels:
        logger.setLevel(logging.WARNING)
    ours.setLevel(level)
    apart.propagate = False
    for target, handler in itertools.product(targets, handlers):
        target.addHandler(handler)
    try:
        yield
    finally:
        for target, handler in itertools.product(targets, handlers):
            target.removeHandler(handler)
        apart.propagate = propagated
        for logger, before in levels.items():
            logger.setLevel(before)


def _report(verb: str, arguments: Mapping[str, Any], error: BaseException, lines: list[str]) -> str:
    shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    head = [
        f"{names.APP} {own_version()}, {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"verb: {verb}({shown})",
        f"Python {platform.python_version()} on {platform.platform()}",
    ]
    return "\n".join([*head, "", *traceback.format_exception(error), "", "the last lines of the log:", "".join(lines)])


def _keep_newest(folder: Path, pattern: str, count: int) -> None:
    with contextlib.suppress(OSError):
        files = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[count:]:
            file.unlink(missing_ok=True)
