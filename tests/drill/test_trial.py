"""What a trial finds apart from its batch: faults of the cloud itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from runner.drill.batch import DrillBatch
from runner.drill.faults import Fault
from runner.drill.site import Client, DrillSite
from runner.drill.steps import Step
from runner.drill.trial import Trial, TrialRun
from runner.errors import HpcError


class BrokenSite:
    """No command can be started, and at each look the cloud has one more traceback in its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._looks: Iterator[int] = iter(range(1, 10))
        self.context = SimpleNamespace(journal=SimpleNamespace(folder=folder))

    def start(self, *words: str) -> Client:
        raise HpcError("no command")

    def defects(self) -> Sequence[str]:
        return [f"Traceback {number}" for number in range(next(self._looks))]


def test_a_traceback_of_the_cloud_during_a_trial_is_a_problem(tmp_path: Path) -> None:
    trial = Trial(step=Step.BEGIN, fault=Fault.KILL_CLIENT)
    site = cast(DrillSite, BrokenSite(tmp_path))
    verdict = TrialRun(site, trial, DrillBatch(name="d")).carry_out()
    assert verdict.problems == (
        "the drill itself could not continue: no command",
        "a traceback of the cloud: Traceback 1",
    )
    assert not verdict.is_good
