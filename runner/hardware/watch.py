"""Watching jobs: one remote process streams the logs and ends of all jobs that anyone here waits for.

When the set changes, that process is started anew with other arguments; each log resumes after the last byte that was delivered, after a
lost connection too, so nothing is repeated and nothing is missing.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from runner.errors import HpcError, RemoteError
from runner.hardware.remote_state import Phase, RemoteState, read_state
from runner.ssh import Connection

UNTIL_END = "end"
UNTIL_AFTER = "after"
# A slow reader must not fill the memory, nor delay the others: its log pauses between these two.
PAUSE_AT_BYTES = 4 << 20
RESUME_AT_BYTES = 1 << 20
_RESTART_DELAY_S = 0.2


@dataclass(frozen=True, kw_only=True)
class LogPiece:
    """Bytes of a log, beginning at byte ``offset``."""

    offset: int
    content: bytes


class Subscription:
    """The events of one job for one waiter: pieces of its log, if asked for, then its state at the end. For one thread."""

    def __init__(self, watcher: Watcher, name: str, start: int | str) -> None:
        self.name = name
        self.until = start if isinstance(start, str) else UNTIL_END
        self.next_byte = None if isinstance(start, str) else start
        self.paused = False
        self.doubted = ""
        self._watcher = watcher
        self._events: queue.SimpleQueue[LogPiece | RemoteState | HpcError] = queue.SimpleQueue()
        self._unread = 0
        self._lock = threading.Lock()

    @property
    def argument(self) -> str:
        """The argument of ``watch.sh`` that says where to begin."""
        return self.until if self.next_byte is None else str(self.next_byte)

    def put(self, event: LogPiece | RemoteState | HpcError) -> None:
        """Add an event; the watcher calls this."""
        if isinstance(event, LogPiece):
            self.next_byte = event.offset + len(event.content)
            with self._lock:
                self._unread += len(event.content)
                self.paused = self._unread > PAUSE_AT_BYTES
        self._events.put(event)

    def get(self, timeout_s: float | None = None) -> LogPiece | RemoteState:
        """Return the next event; a state is the last one. Raises: TimeoutError, RemoteError if the host is lost."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no event of job {self.name} within {timeout_s} s") from None
        if isinstance(event, HpcError):
            raise event
        if isinstance(event, LogPiece):
            self._note_read(len(event.content))
        return event

    def _note_read(self, size: int) -> None:
        with self._lock:
            self._unread -= size
            resume = self.paused and self._unread < RESUME_AT_BYTES
            self.paused = self.paused and not resume
        if resume:
            self._watcher.note_change()

    def close(self) -> None:
        """Receive no more events."""
        self._watcher.drop(self)


class FrameReader:
    """Parses the stream of ``watch.sh``."""

    def __init__(self, subscriptions: Sequence[Subscription], on_end: Callable[[Subscription], None]) -> None:
        self._subscriptions = subscriptions
        self._on_end = on_end
        self._waiting = bytearray()
        self._log: tuple[Subscription, int] | None = None

    def feed(self, content: bytes) -> None:
        """Take the next bytes. Raises: ValueError, IndexError or RemoteError for anything but a frame."""
        self._waiting += content
        while self._take_frame():
            pass

    def _take_frame(self) -> bool:
        if self._log is not None:
            return self._take_log(*self._log)
        line, newline, rest = self._waiting.partition(b"\n")
        if not newline:
            return False
        self._waiting = rest
        kind, *words = line.decode("ascii").split(" ", 3)
        if kind == "L":
            self._log = (self._subscriptions[int(words[0]) - 1], int(words[1]))
        elif kind == "E":
            subscription = self._subscriptions[int(words[0]) - 1]
            self._take_end(subscription, read_state(words[1], words[2]))
        elif kind != "K":
            raise ValueError(line)
        return True

    def _take_end(self, subscription: Subscription, state: RemoteState) -> None:
        """Deliver the end of a job. An unreadable state is believed only the second time: the first may be a shifted frame."""
        if state.phase is Phase.UNKNOWN and subscription.doubted != state.unreadable:
            subscription.doubted = state.unreadable
            raise RemoteError(state.unreadable)
        subscription.put(state)
        self._on_end(subscription)

    def _take_log(self, subscription: Subscription, left: int) -> bool:
        piece = bytes(self._waiting[:left])
        if not piece:
            return False
        del self._waiting[: len(piece)]
        subscription.put(LogPiece(offset=subscription.next_byte or 0, content=piece))
        self._log = (subscription, left - len(piece)) if left > len(piece) else None
        return True


class Watcher:
    """Serves all subscriptions of one interface over its connection. Safe for many threads."""

    def __init__(self, connection: Connection, watch_line: Callable[[Sequence[str]], str]) -> None:
        self._connection = connection
        self._watch_line = watch_line
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._serving: Future[None] | None = None
        self._changed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def subscribe(self, wanted: Sequence[tuple[str, int | str]]) -> list[Subscription]:
        """Subscribe to jobs: pairs of name and first log byte, or UNTIL_END or UNTIL_AFTER for no log."""
        added = [Subscription(self, name, start) for name, start in wanted]
        with self._lock:
            self._subscriptions += added
            if self._serving is None or self._serving.done():
                self._serving = self._connection.start(self._serve())
        self.note_change()
        return added

    def drop(self, subscription: Subscription) -> None:
        """End one subscription. Does nothing if its job has ended."""
        self.drop_all([subscription])

    def drop_all(self, subscriptions: Sequence[Subscription]) -> None:
        """End these subscriptions; skip those whose jobs have ended."""
        dropped = set(subscriptions)
        with self._lock:
            before = len(self._subscriptions)
            self._subscriptions = [one for one in self._subscriptions if one not in dropped]
            changed = len(self._subscriptions) < before
        if changed:
            self.note_change()

    def note_change(self) -> None:
        """Note that the set of logs to stream has changed."""
        loop, changed = self._loop, self._changed
        if loop is not None and changed is not None and not loop.is_closed():
            loop.call_soon_threadsafe(changed.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        while True:
            self._changed.clear()
            with self._lock:
                if not self._subscriptions:
                    self._serving = None
                    return
                current = [subscription for subscription in self._subscriptions if not subscription.paused]
            if not await self._watch(current):
                return

    async def _watch(self, current: Sequence[Subscription]) -> bool:
        """Watch one set until it changes, ends or cannot be watched (False: the host is lost)."""
        changed = asyncio.ensure_future(self._event().wait())
        streaming = asyncio.ensure_future(self._stream(current)) if current else changed
        try:
            await asyncio.wait({changed, streaming}, return_when=asyncio.FIRST_COMPLETED)
            if streaming is not changed and streaming.done():
                streaming.result()
        except HpcError as error:
            self._fail(error)
            return False
        finally:
            for task in (changed, streaming):
                task.cancel()
            await asyncio.gather(changed, streaming, return_exceptions=True)
        return True

    def _event(self) -> asyncio.Event:
        self._changed = self._changed or asyncio.Event()
        return self._changed

    async def _stream(self, current: Sequence[Subscription]) -> None:
        from runner.ssh.shell import Call

        round_ = WatchRound(self, current)
        began = time.monotonic()
        try:
            ended = await self._connection.link.perform(Call(line=round_.begin, sink=round_.feed))
        finally:
            round_.reader = None
        if ended.exit_code != 0:
            message = f"the jobs cannot be watched any more: the remote side ended with {ended.exit_code} {ended.signal}".rstrip()
            raise RemoteError(message, host=self._connection.target.host)
        if time.monotonic() - began < _RESTART_DELAY_S:
            await asyncio.sleep(_RESTART_DELAY_S)

    def watch_line(self, subscriptions: Sequence[Subscription]) -> str:
        """Return the line that starts the remote process for these."""
        return self._watch_line([word for one in subscriptions for word in (one.name, one.argument)])

    def still_wanted(self, subscriptions: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions that have neither ended nor been dropped."""
        with self._lock:
            return [one for one in subscriptions if one in self._subscriptions]

    def forget(self, subscription: Subscription) -> None:
        """Remove a subscription whose job has ended: the remote process knows that too."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def _fail(self, error: HpcError) -> None:
        with self._lock:
            failed, self._subscriptions = self._subscriptions, []
            self._serving = None
        for subscription in failed:
            subscription.put(error)

    def close(self) -> None:
        """Raise an error in every thread that still waits: the connection is closed."""
        self._fail(
            RemoteError(
                f"the connection to {self._connection.target.label} was closed", host=self._connection.target.host
            )
        )
        self.note_change()


class WatchRound:
    """One set of subscriptions, streamed until the set changes. After a lost connection it resumes each log where it stopped."""

    def __init__(self, watcher: Watcher, subscriptions: Sequence[Subscription]) -> None:
        self._watcher = watcher
        self._subscriptions = subscriptions
        self.reader: FrameReader | None = None

    def begin(self) -> str:
        """Return the remote line; called for each try."""
        wanted = self._watcher.still_wanted(self._subscriptions)
        self.reader = FrameReader(wanted, self._watcher.forget)
        return self._watcher.watch_line(wanted)

    def feed(self, stream: int, content: bytes) -> None:
        """Take output of the remote process."""
        if self.reader is None or stream != 1:
            return
        try:
            self.reader.feed(content)
        except (ValueError, IndexError, RemoteError):
            # A log that was truncated while we read it shifts everything after it: restart from what is known.
            self.reader = None
            self._watcher.note_change()
