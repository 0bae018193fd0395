"""What threads report to the controller of a batch. Each is a fact; the controller alone decides what follows."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.batch.summary import JobOutcome
from runner.errors import HpcError
from runner.google import Instance
from runner.results import DownloadedSet

if TYPE_CHECKING:
    from runner.hardware.opensees import OpenSeesInterface


@dataclass(frozen=True, kw_only=True)
class VMsCreated:
    """The engine created what was requested; ``instances`` are all that the cloud shows for the batch."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True, kw_only=True)
class VMsRefused:
    """The engine could not create these in any zone, of any machine type, that was tried."""

    names: tuple[str, ...]
    error: HpcError


@dataclass(frozen=True, kw_only=True)
class VMReady:
    """A VM answers."""

    instance: Instance
    interface: OpenSeesInterface


@dataclass(frozen=True, kw_only=True)
class VMDown:
    """A VM is lost. ``witness``: the source (marker, cloud, ssh, boot)."""

    name: str
    witness: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class VMGone:
    """A lost VM can no longer end a job, as far as is known, and the outcome of each of its jobs was reported."""

    name: str


@dataclass(frozen=True, kw_only=True)
class SolverEnded:
    """A job's program has ended; its results are on their way."""

    job: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class JobDone:
    """A job's outcome is known; its results are downloaded, or cannot be."""

    attempt: int
    outcome: JobOutcome


@dataclass(frozen=True, kw_only=True)
class JobTrouble:
    """A VM did not do what a job needed of it."""

    job: str
    attempt: int
    vm: str
    error: HpcError


@dataclass(frozen=True, kw_only=True)
class ResultsLost:
    """A job was on a VM that is gone, and no results of it are downloaded or in the bucket."""

    job: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class ResultsDownloaded:
    """Verified results of a job are downloaded, whether or not a thread waited for them."""

    results: DownloadedSet


@dataclass(frozen=True, kw_only=True)
class DeadlinesMoved:
    """The batch was extended. ``deadlines``: in s after each job's start."""

    deadlines: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class LeaseLost:
    """Another client runs the batch now; this one must leave it alone."""

    holder: str


@dataclass(frozen=True, kw_only=True)
class LeaseGone:
    """The lease was removed: no client runs the batch, and its VMs delete themselves."""


@dataclass(frozen=True, kw_only=True)
class ThreadFailed:
    """A thread ended with an error that is a defect of this program."""

    error: BaseException


Message = (
    VMsCreated
    | VMsRefused
    | VMReady
    | VMDown
    | VMGone
    | SolverEnded
    | JobDone
    | JobTrouble
    | ResultsLost
    | ResultsDownloaded
    | DeadlinesMoved
    | LeaseLost
    | LeaseGone
    | ThreadFailed
)


class Inbox:
    """The messages of all threads, oldest first, for the controller."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def add(self, message: Message) -> None:
        """Add a message, from any thread."""
        self._messages.put(message)

    def next(self) -> Message:
        """Wait for the next message."""
        return self._messages.get()

    def rest(self) -> Iterator[Message]:
        """Yield the messages that are there, without waiting for more."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._messages.get_nowait()
