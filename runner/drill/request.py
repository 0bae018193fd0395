"""What was asked of a drill, as somebody typed it: which trials that are."""

from __future__ import annotations

from collections.abc import Sequence

from runner.commands.arguments import read_whole_number
from runner.drill.program import REAL, AnyTrial, list_trials
from runner.errors import InputError

MOST_TRIALS = 100_000  # weeks


def read_trials(*, everything: bool, only: str, seed: str, count: str, on: str) -> Sequence[AnyTrial]:
    """Return the trials of a drill, in their order.

    Raises:
        InputError: there are no such trials, or the arguments do not go together.
    """
    drawn = read_whole_number("--random", count, least=1, most=MOST_TRIALS)
    number = read_whole_number("--seed", seed, least=0)
    if on not in ("local", "google"):
        raise InputError(f"--on {on}: a drill is on local or on google")
    if sum(map(bool, (everything, only, drawn))) > 1:
        raise InputError("--all, --only and --random exclude each other")
    if on == "local":
        return _list(everything=everything, only=only, seed=number, count=drawn or 0)
    if everything or only or drawn:
        raise InputError("on google there is one trial: one analysis, and its VM is taken away")
    return [REAL]


def _list(*, everything: bool, only: str, seed: int | None, count: int) -> Sequence[AnyTrial]:
    try:
        return list_trials(everything=everything, only=only, seed=seed, count=count)
    except ValueError as error:  # numbers in the name of a trial that are longer than Python reads
        raise InputError(f"--only: {error}", remedy="a random trial is random/SEED-NUMBER") from error
