"""Jobs as UQ code submits them: an ID and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, order=True)
class JobId:
    """The ID of a job: ``str`` of it is the name of the job's folder."""

    value: str | int

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Job:
    """An ID and the numbers that the simulator gets (one line of a CSV file)."""

    id: JobId | str | int
    data: Sequence[float] | None = None


class JobLike(Protocol):
    """Anything with an ID and with data is accepted as a job."""

    @property
    def id(self) -> object:
        """``str(id)`` is the name of the job's folder."""

    @property
    def data(self) -> Sequence[float] | None:
        """The numbers, or None for an empty line."""
