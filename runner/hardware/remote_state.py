"""A job's state as the remote side reports it, as a value. The words are those of ``remote/common.sh``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from runner.errors import RemoteError
from runner.model.foreign import exit_code, real_number

_TIME = re.compile(r"(?P<minutes>\d+)m(?P<seconds>[0-9.,]+)s")


class Phase(Enum):
    """The phase of a job. UNKNOWN: its state cannot be read; the host itself never reports this."""

    NONE = "none"
    SUBMITTED = "submitted"
    RUNNING = "running"
    END = "end"
    UNKNOWN = "unknown"


class How(Enum):
    """How a job ended. LOST: without a witness, because its supervisor was killed or the host shut down."""

    ENDED = "ended"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class End:
    """The end of a job, decided once. ``core_s`` counts the processes that were waited for; None if it could not be measured."""

    how: How
    exit_code: int | None
    has_output: bool
    wall_s: float
    core_s: float | None


@dataclass(frozen=True, kw_only=True)
class RemoteState:
    """One job's state. ``after``: exit code of the command that runs after the end; None while it is not over, -1 if it was killed.

    ``unreadable``: what the host reported for a job whose phase is UNKNOWN.
    """

    phase: Phase
    end: End | None = None
    has_after: bool = False
    after: int | None = None
    unreadable: str = ""


def read_state(after: str, state: str) -> RemoteState:
    """Read the last two columns of a status line. Anything else becomes UNKNOWN: one corrupt file must not hide all other jobs."""
    try:
        return parse_state(after, state)
    except RemoteError as error:
        return RemoteState(phase=Phase.UNKNOWN, unreadable=error.message)


def parse_state(after: str, state: str) -> RemoteState:
    """Read the last two columns of a status line.

    Raises: RemoteError for anything else, so that a garbled answer is never taken for a state.
    """
    try:
        word, _, rest = state.partition(" ")
        phase = Phase(word)
        if phase is Phase.UNKNOWN:
            raise ValueError(word)
        end = parse_end(rest) if phase is Phase.END else None
        return RemoteState(phase=phase, end=end, has_after=after != "-", after=_parse_after(after))
    except (ValueError, IndexError) as error:
        raise RemoteError(f"the remote side reported an unreadable state: {after!r} {state!r}") from error


def parse_end(line: str) -> End:
    """Read ``HOW EXIT_CODE OUTPUT BEGAN ENDED USER SYSTEM``."""
    how, code, output, began, ended, user, system = line.split()
    used = [_parse_time(user), _parse_time(system)]
    return End(
        how=How(how),
        exit_code=None if code == "-" else exit_code(int(code)),
        has_output=output == "1",
        wall_s=max(0.0, real_number(float(ended)) - real_number(float(began))),
        core_s=None if None in used else sum(part for part in used if part is not None),
    )


def _parse_time(text: str) -> float | None:
    match = _TIME.fullmatch(text)
    return (
        None if match is None else real_number(int(match["minutes"]) * 60 + float(match["seconds"].replace(",", ".")))
    )


def _parse_after(text: str) -> int | None:
    return None if text in {"-", "running"} else -1 if text == "lost" else int(text)
