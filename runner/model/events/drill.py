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
    step: Annotated[str, "when the harm is done"]
    what: Annotated[str, "what is done"]

    def as_text(self) -> Lines:
        """Return a quiet line."""
        return one_line(f"{self.number}/{self.of} {self.step}: {self.what}", "dim")


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """What came of a trial. Times in s."""

    kind: ClassVar[str] = "trial"
    trial: Annotated[str, "its name, as `--only` takes it"]
    step: Annotated[str, "when the harm was done"]
    what: Annotated[str, "what was done"]
    batch: Annotated[str, "name of the batch"]
    client_exit_code: Annotated[int | None, "that of the batch's own client; null: it was killed, or still runs"]
    empty_after_s: Annotated[
        float | None, "from the harm until nothing billable was left, in s; null: that did not come"
    ]
    jobs: Annotated[int, "jobs of the batch"]
    finished: Annotated[int, "jobs that had ended by then"]
    home: Annotated[int, "jobs whose results are here at the end"]
    went_on: Annotated[str, "the command that ended the batch; empty: its own client did"]
    noticed_s: Annotated[float | None, "the longest until the client knew that a VM was taken away, in s"]
    replaced_s: Annotated[float | None, "the longest until it then asked for another VM, in s"]
    left_over: Annotated[tuple[str, ...], "what is still there though it should not be"]
    problems: Annotated[tuple[str, ...], "what else is not as it should be"]
    verdict: Annotated[Literal["ok", "FAILED"], "`ok`: nothing was left, nothing was lost"]

    def as_text(self) -> Lines | None:
        """Return what is wrong, if anything is."""
        wrong = (*self.problems, *(f"STILL THERE: {item}" for item in self.left_over))
        return tuple(line for item in wrong for line in split_lines(f"  {item}", "red")) or None
