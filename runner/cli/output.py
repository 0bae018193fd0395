"""Standard output and error that hold nobody up: a thread of their own writes them, and they are given up when nobody is there.

A pager that does not read on, a terminal that was stopped or closed, a full disk behind ``> file``: none of them may keep a
batch from going on, or from ending with all of its VMs deleted.
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
    """Writes what is put to the streams it belongs to, in order."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[TextIO, str] | threading.Event] = queue.SimpleQueue()
        self.lost: dict[TextIO, OSError] = {}  # what kept the rest of a stream from where it was to go
        threading.Thread(target=self._run, daemon=True, name="output").start()

    def put(self, stream: TextIO, text: str) -> None:
        """Have this written; returns at once."""
        self._waiting.put((stream, text))

    def drain(self) -> None:
        """Wait until all that was put is written, or given up."""
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
                continue  # the stream is closed, or cannot take this text; what follows it perhaps can


def _silence(stream: TextIO) -> None:
    """Nobody can read it any more: what follows, and what its buffer still holds, goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class PatientStream(io.TextIOBase):
    """A text stream to write to; the writing is done later. ``drain`` waits for it."""

    def __init__(self, stream: TextIO, writer: _Writer) -> None:
        self._stream = stream
        self._writer = writer

    def write(self, text: str) -> int:
        """Put the text into the queue."""
        self._writer.put(self._stream, text)
        return len(text)

    def flush(self) -> None:
        """Nothing: each text is flushed when it is written."""

    def drain(self) -> None:
        """Wait until it is written."""
        self._writer.drain()

    def find_loss(self) -> OSError | None:
        """What the disk said that could not take all that was written; None if it could, or if a reader has gone."""
        self.drain()
        error = self._writer.lost.get(self._stream)
        return error if error is not None and error.errno in LOSSES else None

    def isatty(self) -> bool:
        """As the stream behind says."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream behind says."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream behind says."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """As the stream behind says."""
        return self._stream.errors


@contextmanager
def patient_output() -> Iterator[None]:
    """Inside, ``sys.stdout`` and ``sys.stderr`` hold nobody up. At the end what was written is waited for."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")  # where characters of ours are unknown, ? stands for them
    writer = _Writer()
    sys.stdout, sys.stderr = (PatientStream(stream, writer) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        writer.drain()


def open_closed_streams() -> None:
    """Let standard streams that this process was started without go nowhere.

    Python has None for them, on which whoever prints fails; and the next file that is opened would get the number of one, so
    that a child writes its errors into it.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        os.set_inheritable(handle, True)
    os.close(handle)
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if handle else "r"
            setattr(sys, name, os.fdopen(handle, mode, encoding="utf-8", errors="backslashreplace", closefd=False))


def drain_output() -> None:
    """Wait until all output is written: before somebody else writes to the same terminal."""
    if isinstance(sys.stdout, PatientStream):
        sys.stdout.drain()


def find_lost_output() -> OSError | None:
    """What kept standard output from the disk that it was to go to, if anything did. Waits until all of it is written."""
    return sys.stdout.find_loss() if isinstance(sys.stdout, PatientStream) else None
