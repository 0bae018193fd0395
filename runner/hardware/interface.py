"""The contract that all job interfaces fulfil."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from runner.hardware.status import JobStatus


class HardwareInterface(ABC):
    """A host for jobs. ``level``: the level of a multi-level simulation that it computes."""

    def __init__(self, name: str, level: int = 1) -> None:
        self._name = name
        self._level = level

    @property
    def name(self) -> str:
        """(Read-only) The user's name for it."""
        return self._name

    @property
    def level(self) -> int:
        """(Read-only) The level of simulation that it computes."""
        return self._level

    @abstractmethod
    def submit_job(self, job: Any, resubmit: bool = False) -> None:
        """Start a job.

        Raises: ValueError if a job with this ID was submitted and ``resubmit`` is False, or has not ended and ``resubmit`` is True.
        """

    @abstractmethod
    def get_job_status(self, job_id: Any) -> JobStatus:
        """Return the status of a job; PENDING_SUBMIT for one that is not known."""

    @abstractmethod
    def get_job_output(self, job_id: Any) -> Any:
        """Return the result of a job; None if there is none."""

    @abstractmethod
    def cancel_job(self, job_id: Any) -> None:
        """End a job and all processes that it started. Does nothing if it has ended."""
