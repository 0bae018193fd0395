"""First come, first served: each job to the first VM that has its cores free, several at once on one VM.

The cores are free again when the solver has ended; what comes after (push, download) goes on beside the next job.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that needs cores."""

    @property
    def cores_needed(self) -> int:
        """Physical cores."""


Work = TypeVar("Work", bound=Sized)
Outcome = TypeVar("Outcome")


@dataclass(kw_only=True)
class Slot:
    """A VM that takes work: its name, and how many cores are free."""

    name: str
    cores: int
    free: int = field(init=False)
    is_open: bool = True

    def __post_init__(self) -> None:
        self.free = self.cores


class Dispatcher(Generic[Work, Outcome]):
    """Runs work on slots as they open, one thread a piece of work.

    ``act(work, slot, release)`` does the work and calls ``release()`` when the cores are free; it returns the outcome and
    must not raise. ``give_up(work, reason)`` makes the outcome of work that found no slot.
    """

    def __init__(
        self,
        waiting: Sequence[Work],
        *,
        slots_to_come: int,
        act: Callable[[Work, Slot, Callable[[], None]], Outcome],
        give_up: Callable[[Work, str], Outcome],
    ) -> None:
        self._waiting = deque(waiting)
        self._act = act
        self._give_up = give_up
        self._to_come = slots_to_come
        self._slots: list[Slot] = []
        self._changed = threading.Condition()
        self._active = 0
        self._outcomes: list[Outcome] = []
        self._errors: list[BaseException] = []
        self._last_reason = "no VM came up"

    def open(self, slot: Slot) -> None:
        """A VM is ready."""
        with self._changed:
            self._slots.append(slot)
            self._to_come -= 1
            self._changed.notify_all()

    def fail(self, reason: str) -> None:
        """A VM that was expected will not come."""
        with self._changed:
            self._to_come -= 1
            self._last_reason = reason
            self._changed.notify_all()

    def close(self, slot: Slot, reason: str) -> None:
        """A VM takes no more work: it was lost."""
        with self._changed:
            slot.is_open = False
            self._last_reason = reason
            self._changed.notify_all()

    def run(self) -> list[Outcome]:
        """Hand out all work and wait for it; outcomes in the order in which they came.

        Raises:
            BaseException: what ``act`` raised though it must not, after all other work has ended.
        """
        while self._step():
            continue
        with self._changed:
            self._changed.wait_for(lambda: self._active == 0)
        if self._errors:
            raise self._errors[0]
        return list(self._outcomes)

    def _step(self) -> bool:
        """Start the next piece of work, or give it up; False when none is left."""
        with self._changed:
            if not self._waiting:
                return False
            self._changed.wait_for(self._can_decide)
            work = self._waiting.popleft()
            slot = self._fitting(work)
            if slot is None:
                self._outcomes.append(self._give_up(work, self._last_reason))
                return True
            slot.free -= work.cores_needed
            self._active += 1
        threading.Thread(target=self._run_one, args=(work, slot), daemon=True, name=f"job-on-{slot.name}").start()
        return True

    def _can_decide(self) -> bool:
        """Whether the first in the queue can start, or never will."""
        work = self._waiting[0]
        hope = self._to_come > 0 or any(slot.is_open and slot.cores >= work.cores_needed for slot in self._slots)
        return not hope or self._fitting(work) is not None

    def _fitting(self, work: Work) -> Slot | None:
        return next((slot for slot in self._slots if slot.is_open and slot.free >= work.cores_needed), None)

    def _run_one(self, work: Work, slot: Slot) -> None:
        released = threading.Event()

        def release() -> None:
            with self._changed:
                if not released.is_set():
                    released.set()
                    slot.free += work.cores_needed
                    self._changed.notify_all()

        try:
            outcome = self._act(work, slot, release)
        except BaseException as error:
            with self._changed:
                self._errors.append(error)
        else:
            with self._changed:
                self._outcomes.append(outcome)
        finally:
            release()
            with self._changed:
                self._active -= 1
                self._changed.notify_all()
