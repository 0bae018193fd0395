"""Standard output and error that never block: a thread writes them, and discards what can no longer be written.

A pager that stops reading, a terminal that was stopped or closed, a full disk behind ``> file``: none of them may keep a
batch from continuing, or from ending with all of its VMs deleted.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOSSES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
STANDARD_ERROR = 2  # the highest of the three numbers


class _Writer:
    """Writes queued text to its streams, in order."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[TextIO, str] | threading.Event] = queue.SimpleQueue()
        self.lost: dict[TextIO, OSError] = {}  # the error since which a stream is discarded
        threading.Thread(target=self._run, daemon=True, name="output").start()

    def put(self, stream: TextIO, text: str) -> None:
        """Queue this text; return at once."""
        self._waiting.put((stream, text))

    def drain(self) -> None:
        """Wait until everything that was queued is written or discarded."""
        reached = threading.Event()
        self._waiting.put(reached)
        reached.wait()

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            stream, text = item
            try:
                stream.write(text)
                stream.flush()
            except OSError as error:
                self.lost.setdefault(stream, error)
                _silence(stream)
            except ValueError:
                continue  # the stream is closed, or cannot encode this text; it may take the next one


def _silence(stream: TextIO) -> None:
    """Discard what is written to the stream from now on, and what is in its buffer."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class QueuedStream(io.TextIOBase):
    """A text stream whose text is queued and written later. ``drain`` waits for that."""

    def __init__(self, stream: TextIO, writer: _Writer) -> None:
        self._stream = stream
        self._writer = writer

    def write(self, text: str) -> int:
        """Queue the text."""
        self._writer.put(self._stream, text)
        return len(text)

    def flush(self) -> None:
        """Do nothing: each text is flushed when it is written."""

    def drain(self) -> None:
        """Wait until all text is written."""
        self._writer.drain()

    def find_loss(self) -> OSError | None:
        """Return the error of a disk that could not store all output; None if there was none, or if only the reader has exited."""
        self.drain()
        error = self._writer.lost.get(self._stream)
        return error if error is not None and error.errno in LOSSES else None

    def isatty(self) -> bool:
        """Return what the wrapped stream returns."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return what the wrapped stream returns."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return what the wrapped stream returns."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Return what the wrapped stream returns."""
        return self._stream.errors


@contextmanager
def queued_output() -> Iterator[None]:
    """Replace ``sys.stdout`` and ``sys.stderr`` inside the block by streams that never block. Wait for them at its end."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")  # ? replaces characters that the stream cannot encode
    writer = _Writer()
    sys.stdout, sys.stderr = (QueuedStream(stream, writer) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        writer.drain()


def open_closed_streams() -> None:
    """Open standard streams that this process was started without on the null device.

    Python has None for them, so that printing fails; and the next file to be opened would get the number of one, so that a
    child process would write its errors into it.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        os.set_inheritable(handle, True)
    os.close(handle)
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if handle else "r"
            setattr(sys, name, os.fdopen(handle, mode, encoding="utf-8", errors="backslashreplace", closefd=False))


def drain_output() -> None:
    """Wait until all output is written, before another program writes to the same terminal."""
    if isinstance(sys.stdout, QueuedStream):
        sys.stdout.drain()


def find_lost_output() -> OSError | None:
    """Wait until all of standard output is written; return the error of a disk that could not store it, if there was one."""
    return sys.stdout.find_loss() if isinstance(sys.stdout, QueuedStream) else None
