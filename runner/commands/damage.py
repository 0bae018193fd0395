"""Result sets that arrived damaged: told, left in the bucket, and asked for again where somebody can push them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runner.commands.events import Listener
from runner.core.results import CorruptResultsError
from runner.core.storage import ResultSet
from runner.errors import HpcError
from runner.model import names

MOST_PUSHES = 3

PushRequest = Callable[[str, int, str], None]
Generations = tuple[int, int]


class Damage:
    """Which sets of a batch are damaged. Safe for several threads.

    ``request_push(job, attempt, prefix)`` has an attempt pushed again to this prefix, where nothing is yet; it may raise
    HpcError. A damaged set stays where it is until a later push of its attempt is home.
    """

    def __init__(self, listener: Listener, request_push: PushRequest | None) -> None:
        self._listener = listener
        self._request_push = request_push
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Generations, str]] = {}
        self._last: dict[tuple[str, int], str] = {}

    def is_known(self, found: ResultSet) -> bool:
        """Whether it was found damaged and is still the same: to fetch it once more would change nothing."""
        with self._lock:
            known = self._known.get(found.prefix)
            return known is not None and known[0] == _generations(found)

    def problems(self) -> dict[str, str]:
        """What is wrong, by prefix in the bucket."""
        with self._lock:
            return {prefix: problem for prefix, (_, problem) in sorted(self._known.items())}

    def problem_of(self, job: str, attempt: int) -> str:
        """What is wrong with an attempt that will not come again, else nothing."""
        with self._lock:
            return self._last.get((job, attempt), "")

    def note(self, found: ResultSet, error: CorruptResultsError) -> None:
        """Tell it, and ask for another push."""
        self._listener.tell(
            "results", job=found.job, attempt=found.attempt, state="corrupt", prefix=found.prefix, message=str(error)
        )
        with self._lock:
            self._known[found.prefix] = (_generations(found), str(error))
        if not (found.is_committed and self._ask(found)):
            with self._lock:
                self._last[found.job, found.attempt] = str(error)

    def _ask(self, found: ResultSet) -> bool:
        """Whether it is to be pushed again."""
        prefix = names.result_prefix(found.batch, found.job, found.attempt, found.push + 1)
        if self._request_push is None or found.push >= MOST_PUSHES:
            return False
        try:
            self._request_push(found.job, found.attempt, prefix)
        except HpcError as error:
            self._listener.tell("warning", message=f"{found} cannot be pushed again: {error}")
            return False
        self._listener.tell("results", job=found.job, attempt=found.attempt, state="asked again", prefix=prefix)
        return True


def _generations(found: ResultSet) -> Generations:
    archive, manifest = found.archive, found.manifest
    return (archive.generation if archive else 0, manifest.generation if manifest else 0)
