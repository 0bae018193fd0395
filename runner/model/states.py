"""States of a job in a batch and what may follow what. A state that cannot be read is ``UNKNOWN``, never guessed."""

from __future__ import annotations

from enum import Enum


class JobState(Enum):
    """The state of a job in a batch."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    LOST = "lost"
    UNKNOWN = "unknown"

    @property
    def has_ended(self) -> bool:
        """Whether this state is final."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # From waiting to an end: results of an earlier attempt were downloaded after all.
    JobState.WAITING: frozenset(
        {JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT, JobState.LOST, JobState.UNKNOWN}
    ),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT, JobState.LOST, JobState.UNKNOWN, JobState.WAITING}
    ),
    JobState.UNKNOWN: frozenset(
        {JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT, JobState.LOST}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.TIMED_OUT: frozenset(),
    JobState.LOST: frozenset(),
}
