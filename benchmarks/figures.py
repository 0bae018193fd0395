"""Small statistics and processes that benchmarks share."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMAND_LIMIT_S = 1800.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest, rounded to 0.1 ms when they are seconds."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "largest": round(max(values), 4),
    }


def time_command(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> float:
    """Wall time of a command in s; its output is shown only when it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT_S
    )
    took = time.perf_counter() - begun
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return took


def time_side_by_side(
    left: Sequence[str], right: Sequence[str], *, cwds: tuple[Path, Path], env: Mapping[str, str], rounds: int
) -> tuple[list[float], list[float]]:
    """Time two commands alternately, so that a busy computer slows both alike; the first round is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for command, cwd, taken in zip((left, right), cwds, times, strict=True):
            seconds = time_command(command, cwd=cwd, env=env)
            if turn:
                taken.append(seconds)
    return times
