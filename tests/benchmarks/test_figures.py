"""What the benchmarks compute from times; the measuring itself is not a test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.batch_runs import TICK, median_phases, phases_of, seconds_not_ours
from benchmarks.figures import percentile, spread, time_command


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 50.0, 95.0, 100.0]
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "least": 1.0, "largest": 3.0}


def test_engine_and_the_slowest_boot_are_not_ours() -> None:
    phases = {"preflight": 0.1, "up": 4.0, "jobs": 3.0, "destroy": 5.0}
    found = phases_of({"phases_s": phases, "parts_s": {"boot": {"b-0": 1.0, "b-1": 2.0}}})
    assert found == phases | {"boot": 2.0}
    assert seconds_not_ours(found) == 11.0
    assert median_phases([{"boot": 1.0}, {"boot": 2.0}]) == {"boot": 1.5}


def test_a_tick_is_found_in_a_json_line() -> None:
    line = rb'{"event": "log", "job": "ticks", "line": "tick 1795420000123456"}'
    assert TICK.findall(line) == [b"1795420000123456"]


def test_a_command_that_fails_is_not_timed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        time_command([sys.executable, "-c", "raise SystemExit(3)"], cwd=tmp_path, env={})
