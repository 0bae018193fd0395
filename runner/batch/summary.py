"""The result of a run, as values: for the table on the screen, for ``--json``, for a caller in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.model.events import JobEnded
from runner.model.states import JobState


@dataclass(frozen=True, kw_only=True)
class JobOutcome:
    """How a job ended. ``wall_s`` and ``core_s`` in s; ``results``: its folder here, None if nothing was downloaded.

    ``signal``: the one that is known to have killed it; an exit code over 128 alone does not say that.
    """

    name: str
    state: JobState
    exit_code: int | None = None
    signal: int | None = None
    wall_s: float | None = None
    core_s: float | None = None
    instance: str = ""
    results: Path | None = None
    message: str = ""
    last_lines: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return JSON values; ``status`` is the state's word."""
        return {
            "name": self.name,
            "status": self.state.value,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "wall_s": self.wall_s,
            "core_s": self.core_s,
            "instance": self.instance,
            "results": None if self.results is None else str(self.results),
            "message": self.message,
        }

    def as_event(self, attempt: int) -> JobEnded:
        """Return the event that reports this end of an attempt; the journal keeps the same facts."""
        return JobEnded(
            job=self.name,
            state=self.state,
            exit_code=self.exit_code,
            signal=self.signal,
            wall_s=self.wall_s,
            core_s=self.core_s,
            instance=self.instance,
            results=None if self.results is None else str(self.results),
            message=self.message,
            attempt=attempt,
        )


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """How a batch ended. ``left_over`` names what could not be removed; it should be empty. Times as in ``Phases``.

    ``error_exit_code``: of the error that ended it early, else None. Everything is empty if no batch had begun.
    """

    batch: str
    jobs: tuple[JobOutcome, ...]
    phases_s: Mapping[str, float]
    left_over: tuple[str, ...]
    results: Path
    parts_s: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    is_detached: bool = False
    error_exit_code: int | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of an error; else 0 only if every job succeeded and nothing is left, or if the batch keeps running without this client; 8 if
        something is left, else 1."""
        if self.error_exit_code is not None:
            return self.error_exit_code
        if self.left_over:
            return 8
        if self.is_detached:
            return 0
        return 0 if all(job.state is JobState.SUCCEEDED for job in self.jobs) else 1

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values of the event ``summary``."""
        return {
            "batch": self.batch,
            "exit_code": self.exit_code,
            "jobs": [job.as_json() for job in self.jobs],
            "phases_s": dict(self.phases_s),
            "parts_s": {phase: dict(parts) for phase, parts in self.parts_s.items()},
            "left_over": list(self.left_over),
            "detached": self.is_detached,
        }


@dataclass(kw_only=True)
class RunReport:
    """What is known at the end of a run, also if an error or a signal ended it. ``summary`` None: no batch had begun."""

    summary: RunSummary | None = None

    def cut_off(self, exit_code: int) -> RunSummary:
        """Return the summary of a run that was ended with this exit code."""
        if self.summary is None:
            return RunSummary(batch="", jobs=(), phases_s={}, left_over=(), results=Path(), error_exit_code=exit_code)
        return replace(self.summary, error_exit_code=exit_code)
