"""Push a job's results to the bucket: archive, manifest, and last the marker that both are complete.

``push-results --bucket B --prefix P --dir JOBDIR``. Prints one JSON line. Exit codes: packer/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from .archive import Checked, Checksum, Packed, Sink, pack_files
from .bucket import Bucket, DeniedError, ExistsError, PushError
from .job_end import LOST, read_end
from .job_files import Selection, describe_names, list_files
from .shared_names import COMMIT_MARKER, MANIFEST, RESULTS_ARCHIVE

LEFT_OUT = 3
NOT_ENDED = 7
NO_FOLDER = 66
DENIED_BUDGET_S = 120.0
LONGEST_PAUSE_S = 30.0


class ResultBucket(Protocol):
    """The operations of a bucket that a push needs. Objects are never overwritten: an existing one raises ExistsError."""

    def create_streamed(self, name: str, fill: Callable[[Sink], None]) -> None: ...
    def create(self, name: str, content: bytes, content_type: str) -> None: ...
    def look_at(self, name: str) -> Checked | None: ...


@dataclass(frozen=True, kw_only=True)
class Push:
    """What to push, and where to. ``prefix`` ends with a slash. ``end``: how the job ended, for the manifest; None if it is not a job."""

    folder: Path
    prefix: str
    selection: Selection
    end: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """The results in the bucket; ``was_there``: an earlier push had completed them."""

    packed: Packed
    was_there: bool


def push_results(push: Push, bucket: ResultBucket, retry: Retry) -> Pushed:
    """Push archive, manifest and marker. Each has its own retries, so no object is sent again after it has arrived."""
    packed, archive_was_there = retry.call(lambda: push_archive(push, bucket, retry))
    manifest = packed.manifest(push.end)
    retry.call(lambda: create_or_match(bucket, push.prefix + MANIFEST, manifest, "application/json"))
    marker_was_there = retry.call(lambda: create_or_match(bucket, push.prefix + COMMIT_MARKER, b"", "text/plain"))
    return Pushed(packed=packed, was_there=archive_was_there and marker_was_there)


def push_archive(push: Push, bucket: ResultBucket, retry: Retry) -> tuple[Packed, bool]:
    """Pack straight into the upload. An identical archive that already exists counts as success."""
    paths, skipped = list_files(push.folder, push.selection)
    results: list[Packed] = []
    name = push.prefix + RESULTS_ARCHIVE

    def fill(sink: Sink) -> None:
        results.append(pack_files(push.folder, paths, skipped, WatchedSink(sink, retry)))

    try:
        bucket.create_streamed(name, fill)
    except ExistsError:
        packed = pack_files(push.folder, paths, skipped, None)
        require_match(bucket, name, packed.archive)
        return packed, True
    return results[-1], False


def create_or_match(bucket: ResultBucket, name: str, content: bytes, content_type: str) -> bool:
    """Create a small object; return True if an identical one already existed."""
    try:
        bucket.create(name, content, content_type)
    except ExistsError:
        checksum = Checksum()
        checksum.write(content)
        require_match(bucket, name, checksum.result())
        return True
    return False


def require_match(bucket: ResultBucket, name: str, ours: Checked) -> None:
    """Raise ExistsError unless the object is byte for byte ours, by size and checksum."""
    theirs = bucket.look_at(name)
    if theirs is None:
        raise ExistsError(f"{name} already exists, and cannot be compared: no permission to read it")
    if theirs != ours:
        raise ExistsError(f"{name} already exists with other content ({theirs.size} bytes, ours {ours.size})")


@dataclass(kw_only=True)
class Retry:
    """Retries after transient errors, with growing pauses, until the push has not advanced for ``budget_s`` since the first of them."""

    budget_s: float
    first_pause_s: float = 1.0
    failing_since_s: float | None = None
    most_sent: int = 0

    def call(self, step: Callable[[], Any]) -> Any:
        pause_s = self.first_pause_s
        while True:
            try:
                done = step()
            except PushError as error:
                if not error.is_transient or self._left_s(error) < pause_s:
                    raise
                say(sys.stderr, f"push-results: {error}; retrying")
            else:
                self.failing_since_s = None
                return done
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def note_sent(self, size: int) -> None:
        """Record how many bytes of the archive were accepted. The push advances if they are more than in any earlier try."""
        if size > self.most_sent:
            self.most_sent = size
            self.failing_since_s = None

    def _left_s(self, error: PushError) -> float:
        now = time.monotonic()
        if self.failing_since_s is None:
            self.failing_since_s = now
        budget_s = min(self.budget_s, DENIED_BUDGET_S) if isinstance(error, DeniedError) else self.budget_s
        return budget_s - (now - self.failing_since_s)


class WatchedSink:
    """A sink that reports to ``retry`` how many bytes have passed through it."""

    def __init__(self, sink: Sink, retry: Retry) -> None:
        self._sink = sink
        self._retry = retry
        self._size = 0

    def write(self, data: bytes, /) -> int:
        self._sink.write(data)
        self._size += len(data)
        self._retry.note_sent(self._size)
        return len(data)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="push-results", description="Push a job's results to the bucket.")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--prefix", required=True, help="where in the bucket: batch/job/attempt-1")
    parser.add_argument("--dir", required=True, type=Path, help="the job's folder")
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave out, e.g. '*.tmp'")
    parser.add_argument("--include", action="append", default=[], metavar="GLOB", help="take anyway, e.g. '.job/log'")
    parser.add_argument("--budget-s", type=float, default=900.0, help="give up after this many seconds of errors")
    return parser.parse_args(arguments)


def describe(pushed: Pushed, options: argparse.Namespace) -> dict[str, Any]:
    """Return the JSON line of a push that succeeded."""
    packed = pushed.packed
    return {
        "event": "pushed",
        "bucket": options.bucket,
        "prefix": options.prefix,
        "archive": vars(packed.archive),
        "files": len(packed.files),
        "bytes": sum(item.size for item in packed.files.values()),
        "skipped": describe_names(packed.skipped),
        "was_there": pushed.was_there,
    }


def main(arguments: Sequence[str]) -> int:
    options = parse_arguments(arguments)
    options.prefix = options.prefix.strip("/") + "/"
    push = Push(
        folder=options.dir,
        prefix=options.prefix,
        selection=Selection(exclude=tuple(options.exclude), include=tuple(options.include)),
        end=read_end(options.dir),
    )
    if not push.folder.is_dir():
        return fail(NO_FOLDER, f"no such folder: {push.folder}")
    if push.end is not None and push.end["how"] == LOST:
        # The results of an interrupted job must never look like those of a finished one.
        return fail(NOT_ENDED, "the job did not end, because its VM went down: nothing is pushed")
    try:
        pushed = push_results(push, Bucket(options.bucket), Retry(budget_s=options.budget_s))
    except PushError as error:
        return fail(error.exit_code, str(error))
    say(sys.stdout, json.dumps(describe(pushed, options)))
    return LEFT_OUT if any(item.is_loss for item in pushed.packed.skipped) else 0


def fail(code: int, message: str) -> int:
    say(sys.stdout, json.dumps({"event": "failed", "exit_code": code, "message": message}))
    return code


def say(stream: TextIO, line: str) -> None:
    """Write a line without Python's buffers. A full disk under the output must not end a push."""
    content = f"{line}\n".encode(errors="backslashreplace")
    with suppress(OSError):
        while content:
            content = content[os.write(stream.fileno(), content) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
