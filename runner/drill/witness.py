"""Who ran to its end, when, and what was safe by then: told by the analyses themselves and by the bucket, not by any client."""

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
CANCEL_LIMIT_S = 30.0  # until a client that lives has ended what need not run any more


@dataclass(frozen=True, kw_only=True)
class Statement:
    """``what``: begin or end. ``at_s``: since the epoch."""

    what: str
    job: str
    attempt: int
    at_s: float


def read_statements(file: Path) -> list[Statement]:
    """Return what the analyses of a batch wrote. A line that was cut does not count."""
    with contextlib.suppress(FileNotFoundError):
        lines = file.read_text(encoding="utf-8").splitlines()
        return [told for line in lines if (told := _read_statement(line)) is not None]
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
    """When each attempt's results were first seen to be safe in the bucket. Looks in a thread of its own until it is closed."""

    def __init__(self, store: ResultStore, batch: str) -> None:
        self._store = store
        self._batch = batch
        self._seen: dict[tuple[str, int], float] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True, name="safe since")
        self._thread.start()

    def close(self) -> Mapping[tuple[str, int], float]:
        """Return the times since the epoch by job and attempt."""
        self._closed.set()
        self._thread.join()
        return dict(self._seen)

    def _look_on(self) -> None:
        while not self._closed.wait(LOOK_EVERY_S):
            with contextlib.suppress(HpcError):  # the cloud is being restarted, say: then the next look tells
                for found in self._store.result_sets(self._batch):
                    self._seen.setdefault((found.job, found.attempt), time.time())


def runs_in_vain(
    told: Sequence[Statement], safe: Mapping[tuple[str, int], float], *, client_lives_until_s: float
) -> list[str]:
    """Return a sentence for each attempt that was begun, or ran to its end, though the results of an earlier one were safe.

    An attempt that runs when an earlier one turns out to be safe is a client's to end: until ``client_lives_until_s`` there was
    one.
    """
    problems = []
    for item in told:
        since = _safe_before(item, safe)
        if since is None:
            continue
        if item.what == "begin" and item.at_s > since + CLOCK_SLACK_S:
            problems.append(
                f"attempt {item.attempt} of {item.job} was begun {item.at_s - since:.1f} s after it was safe"
            )
        elif item.what == "end" and since + CANCEL_LIMIT_S < item.at_s < client_lives_until_s:
            problems.append(f"attempt {item.attempt} of {item.job} ran to its end, though it was safe")
    return problems


def _safe_before(item: Statement, safe: Mapping[tuple[str, int], float]) -> float | None:
    """Since when an earlier attempt of the same job has been safe."""
    return min((at for (job, attempt), at in safe.items() if job == item.job and attempt < item.attempt), default=None)


def ends_of(told: Iterable[Statement]) -> dict[str, int]:
    """How often each job was run to its end."""
    counts: dict[str, int] = {}
    for item in told:
        if item.what == "end":
            counts[item.job] = counts.get(item.job, 0) + 1
    return counts
