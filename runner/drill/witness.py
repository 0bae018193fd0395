"""Which attempts ran to their ends, when, and what was safe by then: from the analyses themselves and the bucket, not from a client."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner.errors import HpcError
from runner.model import names
from runner.results import ResultStore

LOOK_EVERY_S = 0.3
CLOCK_SLACK_S = 1.0  # between a commit and the look that saw it
CANCEL_LIMIT_S = 30.0  # until a living client has ended runs that are not needed any more


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The begin or end of an attempt. ``what``: begin or end. ``at_s``: since the epoch."""

    what: str
    job: str
    attempt: int
    at_s: float


def read_statements(file: Path) -> list[Statement]:
    """Return what the analyses of a batch wrote. An incomplete line is ignored."""
    with contextlib.suppress(FileNotFoundError):
        lines = file.read_text(encoding="utf-8").splitlines()
        return [found for line in lines if (found := _read_statement(line)) is not None]
    return []


def _read_statement(line: str) -> Statement | None:
    words = line.split(" ")
    if len(words) != 4 or not words[3].isdecimal():
        return None
    found = next((job for part in PurePosixPath(words[2]).parts if (job := names.read_attempt_folder(part))), None)
    if found is None:
        return None
    return Statement(what=words[0], job=found[0], attempt=found[1], at_s=int(words[3]) / 1000)


class SafeSince:
    """When each attempt's results were first seen to be safe in the bucket. It polls in a thread of its own until it is closed."""

    def __init__(self, store: ResultStore, batch: str) -> None:
        self._store = store
        self._batch = batch
        self._seen: dict[tuple[str, int], float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True, name="safe since")
        self._thread.start()

    def close(self) -> Mapping[tuple[str, int], float]:
        """Stop, and return the times since the epoch by job and attempt."""
        self._closed.set()
        self._thread.join()
        return dict(self._seen)

    def _look_on(self) -> None:
        while not self._closed.wait(LOOK_EVERY_S):
            with contextlib.suppress(HpcError):  # for example because the cloud restarts: the next look will do
                for found in self._store.result_sets(self._batch):
                    self._seen.setdefault((found.job, found.attempt), time.time())


def find_needless_runs(
    statements: Sequence[Statement], safe: Mapping[tuple[str, int], float], *, client_lives_until_s: float
) -> list[str]:
    """Return a sentence for each attempt that was started, or ran to its end, although the results of an earlier one were safe.

    A client has to end an attempt that runs when an earlier one turns out to be safe; ``client_lives_until_s``: until when one was alive.
    """
    problems = []
    for item in statements:
        since = _safe_before(item, safe)
        if since is None:
            continue
        if item.what == "begin" and item.at_s > since + CLOCK_SLACK_S:
            problems.append(
                f"attempt {item.attempt} of {item.job} was started {item.at_s - since:.1f} s after its results were safe"
            )
        elif item.what == "end" and since + CANCEL_LIMIT_S < item.at_s < client_lives_until_s:
            problems.append(f"attempt {item.attempt} of {item.job} ran to its end, although its results were safe")
    return problems


def _safe_before(item: Statement, safe: Mapping[tuple[str, int], float]) -> float | None:
    """Return since when the results of an earlier attempt of the same job have been safe; None if they are not."""
    return min((at for (job, attempt), at in safe.items() if job == item.job and attempt < item.attempt), default=None)


def count_ends(statements: Iterable[Statement]) -> dict[str, int]:
    """Return how often each job ran to its end."""
    counts: dict[str, int] = {}
    for item in statements:
        if item.what == "end":
            counts[item.job] = counts.get(item.job, 0) + 1
    return counts
