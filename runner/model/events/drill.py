"""Events of a drill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from runner.model.events.event import Event, Lines, one_line, split_lines


@dataclass(frozen=True, kw_only=True)
class TrialStarted(Event):
    """A trial begins."""

    kind: ClassVar[str] = "trial_started"
    number: Annotated[int, "its number, from 1"]
    of: Annotated[int, "how many trials there are"]
    step: Annotated[str, "when the fault is injected"]
    what: Annotated[str, "what is injected"]

    def as_text(self) -> Lines:
        """Return a quiet line."""
        return one_line(f"{self.number}/{self.of} {self.step}: {self.what}", "dim")


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """The result of a trial. Times in s."""

    kind: ClassVar[str] = "trial"
    trial: Annotated[str, "its name, as `--only` takes it"]
    step: Annotated[str, "when the fault was injected"]
    what: Annotated[str, "what was injected"]
    batch: Annotated[str, "name of the batch"]
    client_exit_code: Annotated[int | None, "that of the batch's own client; null: it was killed, or still runs"]
    empty_after_s: Annotated[
        float | None, "from the fault until no billable resource was left, in s; null: that was not reached"
    ]
    jobs: Annotated[int, "jobs of the batch"]
    finished: Annotated[int, "jobs that had ended by then"]
    downloaded: Annotated[int, "jobs whose results are downloaded at the end"]
    ended_by: Annotated[str, "the command that ended the batch; empty: its own client ended it"]
    noticed_s: Annotated[float | None, "the longest time until the client noticed that a VM had been preempted, in s"]
    replaced_s: Annotated[float | None, "the longest time until it then requested another VM, in s"]
    left_over: Annotated[tuple[str, ...], "what still exists but should not"]
    problems: Annotated[tuple[str, ...], "what else is wrong"]
    verdict: Annotated[
        Literal["ok", "FAILED"], "`ok`: no resource was left over, no result was lost, and all reports were true"
    ]

    def as_text(self) -> Lines | None:
        """Return what is wrong, if anything is."""
        wrong = (*self.problems, *(f"STILL THERE: {item}" for item in self.left_over))
        return tuple(line for item in wrong for line in split_lines(f"  {item}", "red")) or None
