"""Random faults at random moments: a seed and a number determine what a trial does, so that it can be repeated."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field
from enum import Enum

from runner.drill.random_faults import RandomFault

MOST_FAULTS = 3
WINDOW_S = 20.0  # from the batch's first record on; a batch without faults takes about as long
DETACHED_SHARE = 0.15
SHORTEST_S, LONGEST_S = 0.25, 3.0
JOBS = 12
VMS = 3
NAME_PREFIX = "random"
SEEDS = 1_000_000


class FollowUp(Enum):
    """What the user does with a batch whose client is gone while it is open."""

    SOON = "attach at once"
    LATE = "attach when the lease has expired"
    TWICE = "two attaches at once"


@dataclass(frozen=True, kw_only=True)
class Injection:
    """``at_s``: after the batch's first record."""

    fault: RandomFault
    at_s: float

    def __str__(self) -> str:
        return f"{self.fault.value} at {self.at_s:.1f} s"


@dataclass(frozen=True, kw_only=True)
class ChaosTrial:
    """One to three faults in a batch of twelve short analyses, one of which fails on purpose, on three VMs."""

    seed: int
    number: int
    injections: tuple[Injection, ...] = field(default=())
    is_detached: bool = False
    follow_up: FollowUp = FollowUp.SOON
    durations_s: tuple[float, ...] = ()

    @classmethod
    def draw(cls, seed: int, number: int) -> ChaosTrial:
        """Return the trial that a seed and a number determine."""
        chance = random.Random(f"{seed}/{number}")  # noqa: S311 (moments, not secrets)
        faults = chance.sample(list(RandomFault), chance.randint(1, MOST_FAULTS))
        injections = [Injection(fault=fault, at_s=chance.uniform(0.0, WINDOW_S)) for fault in faults]
        return cls(
            seed=seed,
            number=number,
            injections=tuple(sorted(injections, key=lambda injection: injection.at_s)),
            is_detached=chance.random() < DETACHED_SHARE,
            follow_up=chance.choice(list(FollowUp)),
            durations_s=tuple(chance.uniform(SHORTEST_S, LONGEST_S) for _ in range(JOBS)),
        )

    @property
    def name(self) -> str:
        """The name that ``--only`` takes."""
        return f"{NAME_PREFIX}/{self.seed}-{self.number}"

    @property
    def moment(self) -> str:
        """The name, for the table."""
        return self.name

    @property
    def what(self) -> str:
        """The faults, for the table."""
        start = "left alone (--detach); " if self.is_detached else ""
        return f"{start}{'; '.join(map(str, self.injections))}; then {self.follow_up.value}"


def draw_trials(count: int, *, seed: int | None) -> list[ChaosTrial]:
    """Return the first trials of a seed; without one, of a random seed."""
    given = secrets.randbelow(SEEDS) if seed is None else seed
    return [ChaosTrial.draw(given, number) for number in range(1, count + 1)]


def read_chaos_name(name: str) -> ChaosTrial | None:
    """Return the trial of that name; None if it names another kind of trial."""
    prefix, _, rest = name.partition("/")
    seed, _, number = rest.partition("-")
    if prefix != NAME_PREFIX or not (seed.isdecimal() and number.isdecimal()):
        return None
    return ChaosTrial.draw(int(seed), int(number))
