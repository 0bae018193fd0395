"""The log of a command, and the report of its crash: files below the state folder that only their owner may read.

``logs/<batch>.log``, or ``logs/<verb>.log`` as long as there is no batch or bake: a record that bears a ``session`` (``extra=``)
says that there is one now. What was logged before is in both. Nothing that happens to these files ends a command. Handlers are
attached here, while a command runs, and nowhere else.
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
from runner.wiring.configuration import home_folder

FOLDER, CRASHES = "logs", "crashes"
SECRET_FILES = ("passphrase", "google/passphrases/*", "local/cloud/*token*")
LARGEST_BYTES = 8 << 20
OLDER_FILES = 3  # that each log keeps when it has become too large
LOGS_KEPT, CRASHES_KEPT = 100, 20
LINES_REMEMBERED, LINES_IN_REPORT = 2000, 200
FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(process)d %(threadName)s %(name)s: %(message)s"
NOISY = ("urllib3", "asyncssh", "asyncio", "google", "grpc", "pulumi")
OUR_LOGGER = "runner"
APART = "google"  # it passes nothing on to the root logger as soon as one of its packages is loaded

_log = logging.getLogger(__name__)


class _Formatter(logging.Formatter):
    """Lines in UTC without secrets; a traceback too is without them."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__(FORMAT)
        self._redaction = redaction

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        """When it was logged, in UTC."""
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))

    def format(self, record: logging.LogRecord) -> str:
        """The line, or with a traceback the lines, of a record."""
        return self._redaction.apply(super().format(record))


class CommandLog(logging.Handler):
    """The log of the command that runs now. Several processes may write to one file: each line is one write at its end."""

    def __init__(
        self,
        home: Path,
        verb: str,
        arguments: Mapping[str, Any],
        redaction: Redaction,
        *,
        largest_bytes: int = LARGEST_BYTES,
    ) -> None:
        super().__init__()
        self._largest_bytes = largest_bytes
        self.verb, self.arguments = verb, arguments
        self._home = home
        self._redaction = redaction
        self._lines: deque[str] = deque(maxlen=LINES_REMEMBERED)
        self._file = _AppendedFile(home / FOLDER / f"{verb}.log", largest_bytes)
        self.setFormatter(_Formatter(redaction))
        self.learn_secrets()

    @property
    def path(self) -> Path | None:
        """Where the log is; None if it cannot be written."""
        return self._file.path if self._file.is_written else None

    @property
    def home(self) -> Path:
        """The state folder."""
        return self._home

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. One that cannot be written is lost, and nothing else is."""
        try:
            session = getattr(record, "session", "")
            if session:
                self.go_on_as(str(session))
            line = self.format(record) + "\n"
        except Exception:  # such as a message that does not fit its arguments: that must not end a batch
            return
        self._lines.append(line)
        self._file.append(line)

    def go_on_as(self, name: str) -> None:
        """From here this is the log of a batch or bake; it gets what was logged before, too."""
        path = self._home / FOLDER / f"{name}.log"
        if not names.is_batch_name(name) or path == self._file.path:
            return
        self.learn_secrets()
        self._file.close()
        self._file = _AppendedFile(path, self._largest_bytes)
        self._file.append(self.hide_secrets("".join(self._lines)))

    def learn_secrets(self) -> None:
        """Those that lie in the state folder now."""
        with contextlib.suppress(OSError):
            for file in [file for pattern in SECRET_FILES for file in self._home.glob(pattern)]:
                with contextlib.suppress(OSError, ValueError):
                    self._redaction.learn(file.read_text(encoding="utf-8").split())

    def hide_secrets(self, text: str) -> str:
        """``text`` as it may be shown."""
        return self._redaction.apply(text)

    def report_crash(self, error: BaseException) -> Path | None:
        """Write down what went wrong, for whoever maintains this; the file, None if it cannot be written."""
        path = self._home / CRASHES / f"{self.verb}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
        text = self.hide_secrets(_report(self.verb, self.arguments, error, [*self._lines][-LINES_IN_REPORT:]))
        file = _AppendedFile(path, self._largest_bytes)
        file.append(text)
        file.close()
        _keep_newest(path.parent, "*.txt", CRASHES_KEPT)
        return path if file.is_written else None

    def close(self) -> None:
        """No more lines."""
        self._file.close()
        super().close()


class _AppendedFile:
    """A file of this user's that grows line by line, and is put away when it is too large, by whichever process sees it."""

    def __init__(self, path: Path, largest_bytes: int) -> None:
        self.path = path
        self._largest_bytes = largest_bytes
        self.is_written = False
        self._handle: int | None = None

    def append(self, text: str) -> None:
        """Write at the end, if that is possible."""
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
        """No more of it. A second call is harmless."""
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)

    def _is_current(self, handle: int) -> bool:
        """Still there under its name, and not too large."""
        own = os.fstat(handle)
        try:
            is_there = os.path.samestat(own, self.path.stat())
        except OSError:
            return False
        if is_there and own.st_size > self._largest_bytes:
            self._put_away()
            return False
        return is_there

    def _reopen(self) -> None:
        self.close()
        for folder in (
            self.path.parent.parent,
            self.path.parent,
        ):  # the state folder, too, may be made by its first log
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._handle = os.open(self.path, flags, 0o600)

    def _put_away(self) -> None:
        older = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, OLDER_FILES + 1))]
        for newer, name in reversed(list(itertools.pairwise(older))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(name)


@contextlib.contextmanager
def command_log(
    environment: Mapping[str, str], verb: str, arguments: Mapping[str, Any], *, session: str = "", debug: bool = False
) -> Iterator[CommandLog]:
    """Inside, what is logged goes to the file of ``session``, if that is the name of a batch or bake, else of the verb.

    ``debug``: finer, and on standard error too. Packages that are not ours tell their warnings only.
    """
    redaction = Redaction(value for name, value in environment.items() if is_secret_name(name))
    log = CommandLog(home_folder(environment), verb, arguments, redaction)
    log.go_on_as(session)
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
            _keep_newest(log.home / FOLDER, "*.log*", LOGS_KEPT)


def current_log() -> CommandLog | None:
    """The log of the command that runs now."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, CommandLog)), None)


def own_version() -> str:
    """The version of this project that is installed, else that of the checkout."""
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
    apart = logging.getLogger(APART)
    places, passes_on = (logging.getLogger(), apart), apart.propagate
    levels = {logger: logger.level for logger in (*places, ours, *map(logging.getLogger, NOISY))}
    for logger in levels:
        logger.setLevel(logging.WARNING)
    ours.setLevel(level)
    apart.propagate = False
    for place, handler in itertools.product(places, handlers):
        place.addHandler(handler)
    try:
        yield
    finally:
        for place, handler in itertools.product(places, handlers):
            place.removeHandler(handler)
        apart.propagate = passes_on
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
