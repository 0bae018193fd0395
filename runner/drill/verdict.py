"""The result of a trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from runner.model.events import TrialEnded


class DrillTrial(Protocol):
    """The part of a trial that a verdict needs."""

    @property
    def name(self) -> str:
        """The name that ``--only`` takes."""

    @property
    def moment(self) -> str:
        """When the fault is injected."""

    @property
    def what(self) -> str:
        """What is injected."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a trial.

    ``empty_after_s``: from the fault until nothing billable was left, before any command resumed the batch; None if that was not reached.
    ``finished``: jobs that had ended by then, ``downloaded`` those whose results are downloaded at the end, of ``jobs``.
    ``ended_by``: the command that ended the batch, '' if its own client did. Of VMs that were preempted: ``noticed_s``, the
    longest time until the client noticed, and ``replaced_s``, until it then requested another one.
    """

    trial: DrillTrial
    batch: str
    jobs: int
    finished: int = 0
    downloaded: int = 0
    empty_after_s: float | None = None
    client_exit_code: int | None = None
    ended_by: str = ""
    noticed_s: float | None = None
    replaced_s: float | None = None
    left_over: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def is_good(self) -> bool:
        """Whether nothing was left over or lost, and all reports were true."""
        return not self.left_over and not self.problems

    def as_event(self) -> TrialEnded:
        """Return the event that reports it."""
        return TrialEnded(
            trial=self.trial.name,
            step=self.trial.moment,
            what=self.trial.what,
            batch=self.batch,
            client_exit_code=self.client_exit_code,
            empty_after_s=self.empty_after_s,
            jobs=self.jobs,
            finished=self.finished,
            downloaded=self.downloaded,
            ended_by=self.ended_by,
            noticed_s=self.noticed_s,
            replaced_s=self.replaced_s,
            left_over=self.left_over,
            problems=self.problems,
            verdict="ok" if self.is_good else "FAILED",
        )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values of the event ``trial``."""
        return self.as_event().as_json()
