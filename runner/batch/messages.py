"""What the controller of a batch is told by its threads. Each is a fact; the controller alone decides what follows."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.batch.summary import JobOutcome
from runner.errors import HpcError
from runner.google import Instance
from runner.results import HomeSet

if TYPE_CHECKING:
    from runner.hardware.opensees import OpenSeesInterface


@dataclass(frozen=True, kw_only=True)
class MachinesMade:
    """The engine made what was asked for; ``instances`` are all that the cloud shows for the batch."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True, kw_only=True)
class MachinesRefused:
    """The engine could not make these, in no place that was tried."""

    names: tuple[str, ...]
    error: HpcError


@dataclass(frozen=True, kw_only=True)
class MachineReady:
    """A machine answers."""

    instance: Instance
    interface: OpenSeesInterface


@dataclass(frozen=True, kw_only=True)
class MachineDown:
    """A machine is lost. ``witness``: who says so (marker, cloud, ssh, boot)."""

    name: str
    witness: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class MachineGone:
    """A lost machine can end no job any more, as far as anybody can tell, and all was told of those that it had."""

    name: str


@dataclass(frozen=True, kw_only=True)
class SolverEnded:
    """A job's program has ended; its results are on their way."""

    job: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class JobDone:
    """A job's outcome is known and its results are home, or cannot come."""

    attempt: int
    outcome: JobOutcome


@dataclass(frozen=True, kw_only=True)
class JobTrouble:
    """A machine did not do what a job needed of it."""

    job: str
    attempt: int
    machine: str
    error: HpcError


@dataclass(frozen=True, kw_only=True)
class ResultsLost:
    """A job was on a machine that is gone, and nothing of it is at home or in the bucket."""

    job: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class CameHome:
    """Verified results of a job are at home, whoever waited for them."""

    home: HomeSet


@dataclass(frozen=True, kw_only=True)
class DeadlinesMoved:
    """Somebody extended the batch: seconds after each job's start."""

    deadlines: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class LeaseLost:
    """Another client goes on with the batch; this one must leave it alone."""

    holder: str


@dataclass(frozen=True, kw_only=True)
class LeaseGone:
    """Somebody removed the lease: nobody goes on with the batch, and its VMs end themselves."""


@dataclass(frozen=True, kw_only=True)
class ThreadFailed:
    """A thread ended by an error that is a defect of ours."""

    error: BaseException


Message = (
    MachinesMade
    | MachinesRefused
    | MachineReady
    | MachineDown
    | MachineGone
    | SolverEnded
    | JobDone
    | JobTrouble
    | ResultsLost
    | CameHome
    | DeadlinesMoved
    | LeaseLost
    | LeaseGone
    | ThreadFailed
)


class Inbox:
    """The messages of all threads, oldest first, for the controller."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def tell(self, message: Message) -> None:
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
