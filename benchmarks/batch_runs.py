"""``invoke run`` seen from outside: wall time and phases of a trivial job, and how late its lines come.

Only the contract of ``--json`` is used: JSON lines, the last with ``event: summary``, ``phases_s`` and ``parts_s``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import percentile, spread, time_command

TICK = re.compile(rb"tick (\d{16})")
TICKS, TICK_EVERY_MS = 200, 50
TICKING_MODEL = f"""
for {{set i 0}} {{$i < {TICKS}}} {{incr i}} {{
  puts "tick [clock microseconds]"
  flush stdout
  after {TICK_EVERY_MS}
}}
"""
TICKING_BATCH = """
batch: ticks
jobs:
  - {name: ticks, dir: ticks, timeout_min: 5}
"""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where benchmarks run: the repository, the environment of commands, a folder to work in, the wheels' prefix."""

    root: Path
    env: Mapping[str, str]
    scratch: Path
    prefix: Path

    def invoke(self, *arguments: str) -> list[str]:
        """Return an Invoke command for this Python."""
        return [sys.executable, "-m", "invoke", *arguments]

    def run_batch(self, jobs_file: Path) -> list[str]:
        """``invoke run`` without questions, as JSON lines."""
        results = str(self.scratch / "results")
        return self.invoke("run", "--jobs", str(jobs_file), "--yes", "--json", "--results", results)


def measure_trivial_job(around: Surroundings, *, rounds: int) -> dict[str, Any]:
    """Time the smoke batch by ``invoke run`` and the same model by ``openseesmp``, alternately; a first run creates base and image."""
    jobs_file = around.root / "jobs" / "smoke.yaml"
    _run_once(around, jobs_file)
    model = around.scratch / "truss"
    shutil.copytree(around.root / "jobs" / "models" / "smoke_truss", model)
    direct_command = [str(around.prefix / "bin" / "openseesmp"), "1", "main.tcl"]
    time_command(direct_command, cwd=model, env=around.env)
    runs, direct = [], []
    for _ in range(rounds):
        runs.append(_run_once(around, jobs_file))
        direct.append(time_command(direct_command, cwd=model, env=around.env))
    walls = [wall for wall, _ in runs]
    phases = median_phases([phases_of(summary) for _, summary in runs])
    ours = [
        wall - seconds_not_ours(phases_of(summary)) - took for (wall, summary), took in zip(runs, direct, strict=True)
    ]
    return {
        "invoke_run_s": spread(walls),
        "direct_s": spread(direct),
        "ratio": round(spread(walls)["median"] / spread(direct)["median"], 1),
        "phases_s": phases,
        "without_engine_boot_and_solver_s": spread(ours),
    }


def measure_line_delay(around: Surroundings) -> dict[str, Any]:
    """From the moment when the solver prints a line to the moment when it can be read from the command; also direct."""
    folder = around.scratch / "line_delay"
    (folder / "ticks").mkdir(parents=True)
    (folder / "ticks" / "main.tcl").write_text(TICKING_MODEL)
    (folder / "ticks.yaml").write_text(TICKING_BATCH)
    command = around.run_batch(folder / "ticks.yaml")
    through_run = _delays(command, cwd=around.root, env=around.env)
    direct = _delays([str(around.prefix / "bin" / "openseesmp"), "1", "main.tcl"], cwd=folder / "ticks", env=around.env)
    return {
        "lines": len(through_run),
        "invoke_run_s": _delay_figures(through_run),
        "direct_s": _delay_figures(direct),
        "ratio_p95": round(percentile(through_run, 0.95) / percentile(direct, 0.95), 1),
    }


def _run_once(around: Surroundings, jobs_file: Path) -> tuple[float, dict[str, Any]]:
    """Wall time in s and the summary of one batch."""
    begun = time.perf_counter()
    done = subprocess.run(
        around.run_batch(jobs_file),
        cwd=around.root,
        env=dict(around.env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    wall = time.perf_counter() - begun
    lines = done.stdout.splitlines()
    summary = json.loads(lines[-1]) if lines and done.returncode == 0 else {}
    if summary.get("event") != "summary":
        raise SystemExit(f"invoke run: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return wall, summary


def phases_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return how long each phase took; of one that several VMs go through at once (boot), the slowest of them."""
    return {**summary["phases_s"], **{name: max(parts.values()) for name, parts in summary["parts_s"].items()}}


def seconds_not_ours(phases_s: Mapping[str, float]) -> float:
    """Return how long the engine (up, destroy) and the VM (boot) take."""
    return sum(phases_s.get(name, 0.0) for name in ("up", "destroy", "boot"))


def median_phases(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Phase by phase."""
    return {name: spread([run.get(name, 0.0) for run in runs])["median"] for name in runs[0]}


def _delays(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> list[float]:
    """For each tick that a command passes on: how old it is when it can be read, in s."""
    with subprocess.Popen(command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        delays = list(_ages(process.stdout))
    if process.returncode != 0 or len(delays) != TICKS:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}, {len(delays)} of {TICKS} lines")
    return delays


def _ages(lines: Iterable[bytes]) -> Iterable[float]:
    for line in lines:
        now = time.time()
        for printed_us in TICK.findall(line):
            yield now - int(printed_us) / 1e6


def _delay_figures(delays: Sequence[float]) -> dict[str, float]:
    return {name: round(percentile(delays, share), 4) for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}
