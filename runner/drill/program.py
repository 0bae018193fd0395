"""The trials of a drill, how they are carried out one after the other, and the summary."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.drill.batch import DrillBatch
from runner.drill.chaos import ChaosTrial, draw_trials, read_chaos_name
from runner.drill.chaos_run import ChaosRun
from runner.drill.faults import PREEMPTIONS, VMS_TAKEN, Fault
from runner.drill.site import DrillSite
from runner.drill.steps import Step
from runner.drill.trial import Trial, TrialRun
from runner.drill.verdict import Verdict
from runner.errors import HpcError, InputError
from runner.model import names
from runner.model.events import Listener, StepStarted, TrialStarted
from runner.teardown import raised_signals

AnyTrial = Trial | ChaosTrial
LONGEST_DELAY_S = 1.0
REAL = Trial(step=Step.JOB_RUNNING, fault=Fault.PREEMPTION)
REAL_DURATION_S = 60.0
MASS_PREEMPTIONS = 10
MASS_PREEMPTION_JOBS_S = (4.0,) * 20


@dataclass(frozen=True, kw_only=True)
class DrillSummary:
    """All verdicts of a drill."""

    verdicts: tuple[Verdict, ...]

    @property
    def exit_code(self) -> int:
        """0 only if every trial is good."""
        return 0 if self.verdicts and all(verdict.is_good for verdict in self.verdicts) else 1

    @property
    def noticed_s(self) -> float | None:
        """The longest time until a client noticed that a VM had been preempted, in seconds; None if none was."""
        return max((one.noticed_s for one in self.verdicts if one.noticed_s is not None), default=None)

    @property
    def replaced_s(self) -> float | None:
        """The longest time until a client then requested another VM, in seconds; None if none was."""
        return max((one.replaced_s for one in self.verdicts if one.replaced_s is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values of the event ``summary``."""
        return {
            "exit_code": self.exit_code,
            "trials": len(self.verdicts),
            "ok": sum(verdict.is_good for verdict in self.verdicts),
            "noticed_s": self.noticed_s,
            "replaced_s": self.replaced_s,
        }


def list_trials(*, everything: bool, only: str, seed: int | None, count: int) -> Sequence[AnyTrial]:
    """Return ``count`` random trials if it is not 0; else those that ``only`` names, including random ones; else those of the matrix.

    Raises:
        InputError: no such trial exists.
    """
    if count:
        return draw_trials(count, seed=seed)
    words = [word.strip() for word in only.split(",") if word.strip()]
    drawn = [trial for word in words if (trial := read_chaos_name(word)) is not None]
    rest = ",".join(word for word in words if read_chaos_name(word) is None)
    if drawn and not rest:
        return drawn
    return [*drawn, *choose_trials(everything=everything, only=rest, seed=seed)]


def choose_trials(*, everything: bool, only: str, seed: int | None) -> list[Trial]:
    """Return the trials of the matrix.

    By default the client is killed at each step. With ``everything`` each fault is injected at each step, one VM is preempted, and ten
    times every VM of a larger batch, at moments of its own.

    ``only``: names ``step/fault``, separated by commas. ``seed``: determines a random order and delays.

    Raises:
        InputError: no such trial exists.
    """
    faults = [fault for fault in Fault if fault not in PREEMPTIONS] if everything or only else [Fault.KILL_CLIENT]
    trials: list[Trial] = [Trial(step=step, fault=fault) for fault in faults for step in Step]
    if everything or only:
        trials.append(REAL)
        trials += [
            Trial(step=Step.CREATED_VM, fault=Fault.EVERY_VM, number=1 + number) for number in range(MASS_PREEMPTIONS)
        ]
    if only:
        trials = _pick(trials, [word.strip() for word in only.split(",")])
    if seed is None:
        return trials
    chance = random.Random(seed)  # noqa: S311 (moments, not secrets)
    chance.shuffle(trials)
    return [replace(each, delay_s=chance.uniform(0.0, LONGEST_DELAY_S)) for each in trials]


def _pick(trials: Iterable[Trial], wanted: Sequence[str]) -> list[Trial]:
    known = {trial.name: trial for trial in trials}
    if unknown := [name for name in wanted if name not in known]:
        steps, faults = ", ".join(step.value for step in Step), ", ".join(fault.value for fault in Fault)
        remedy = f"a name is step/fault or random/SEED-NUMBER; steps: {steps}; faults: {faults}"
        raise InputError(f"no trial {', '.join(unknown)}", remedy=remedy)
    return [known[name] for name in wanted]


def execute(site: DrillSite, trials: Sequence[AnyTrial], listener: Listener) -> DrillSummary:
    """Create base and image if they do not exist, then carry out the trials.

    Raises:
        HpcError: the site cannot be prepared.
    """
    verdicts = []
    with raised_signals():
        site.context.cloud.open()
        if site.context.is_local:
            _prepare(site, listener)
        for number, trial in enumerate(trials, start=1):
            listener.report(TrialStarted(number=number, of=len(trials), step=trial.moment, what=trial.what))
            verdict = _carry_out(site, trial)
            listener.report(verdict.as_event())
            verdicts.append(verdict)
    return DrillSummary(verdicts=tuple(verdicts))


def _carry_out(site: DrillSite, trial: AnyTrial) -> Verdict:
    if isinstance(trial, ChaosTrial):
        return ChaosRun(site, trial).carry_out()
    return TrialRun(site, trial, _batch_of(site, trial)).carry_out()


def _prepare(site: DrillSite, listener: Listener) -> None:
    if site.context.cloud.compute.newest_image(names.IMAGE_FAMILY) is not None:
        return
    listener.report(StepStarted(what="base and image for the drill"))
    done = site.invoke("build", "--yes", "--json")
    if done.exit_code != 0:
        raise HpcError(f"no image for the drill: {done.last_output()}")


def _batch_of(site: DrillSite, trial: Trial) -> DrillBatch:
    """Return the batch of a trial; on Google Cloud it is as small as possible."""
    if site.context.is_local:
        return local_batch(trial)
    return DrillBatch(name=f"drill-{site.context.now():%Y%m%d-%H%M%S}", durations_s=(REAL_DURATION_S,))


def local_batch(trial: Trial) -> DrillBatch:
    """Return a batch for the embedded cloud: a few jobs on two VMs; more jobs on more VMs if each VM is preempted."""
    name = f"d-{trial.name.replace('/', '-')}"
    if trial.fault is Fault.EVERY_VM:
        return DrillBatch(name=name, durations_s=MASS_PREEMPTION_JOBS_S, vms=VMS_TAKEN)
    return DrillBatch(name=name)
