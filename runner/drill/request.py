"""The trials that the arguments of ``invoke drill`` select."""

from __future__ import annotations

from collections.abc import Sequence

from runner.commands.arguments import read_whole_number
from runner.drill.program import REAL, AnyTrial, list_trials
from runner.errors import InputError
from runner.options.project import Drill

MOST_TRIALS = 100_000  # weeks


def read_trials(options: Drill) -> Sequence[AnyTrial]:
    """Return the trials of a drill, in their order.

    Raises:
        InputError: no such trials exist, or the arguments exclude each other.
    """
    drawn = read_whole_number("--random", options.random, least=1, most=MOST_TRIALS)
    number = read_whole_number("--seed", options.seed, least=0)
    if options.on not in ("local", "google"):
        raise InputError(f"--on {options.on}: a drill runs on local or google")
    if sum(map(bool, (options.all, options.only, drawn))) > 1:
        raise InputError("--all, --only and --random exclude each other")
    if options.on == "local":
        return _list(everything=options.all, only=options.only, seed=number, count=drawn or 0)
    if options.all or options.only or drawn:
        raise InputError("on google a drill has one trial: one analysis, whose VM is preempted")
    return [REAL]


def _list(*, everything: bool, only: str, seed: int | None, count: int) -> Sequence[AnyTrial]:
    try:
        return list_trials(everything=everything, only=only, seed=seed, count=count)
    except ValueError as error:  # numbers in the name of a trial that are longer than Python reads
        raise InputError(f"--only: {error}", remedy="a random trial is random/SEED-NUMBER") from error
