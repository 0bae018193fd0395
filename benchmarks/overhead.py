"""What ``invoke run`` adds to a job, on the embedded cloud, beside the same thing done directly.

    ./bootstrap python -m benchmarks.overhead [--json] [--rounds 3] [--only trivial,lines,list,memory]

It uses a state folder of its own (kept with ``--home``), so that the user's cloud is left alone; the first run in a new one bakes an image.
Figures are printed, never judged: they depend on the computer and its load. Ratios come from runs side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.batch_runs import Surroundings, measure_line_delay, measure_trivial_job
from benchmarks.cloud_memory import measure_memory
from benchmarks.figures import spread, time_side_by_side

ROOT = Path(__file__).resolve().parent.parent
LIST_ROUNDS = 10
IDLE_VMS = 4
EMPTY_TASKS = "from invoke import task\n\n\n@task\ndef nothing(c):\n    pass\n"
AIMS = {
    "trivial": "20 s in all on 2 cores, less than 2 s of it ours",
    "lines": "p95 under 0.3 s",
    "list": "ratio at most 1.5",
    "memory": "under 250 MB with four idle VMs",
}


def measure_list(around: Surroundings) -> dict[str, Any]:
    """``invoke --list`` here, and with a tasks file that holds one task and no imports of ours."""
    empty = around.scratch / "empty"
    empty.mkdir()
    (empty / "tasks.py").write_text(EMPTY_TASKS)
    command = around.invoke("--list")
    ours, least = time_side_by_side(command, command, cwds=(ROOT, empty), env=around.env, rounds=LIST_ROUNDS)
    return {
        "list_s": spread(ours),
        "empty_tasks_s": spread(least),
        "ratio": round(statistics.median(ours) / statistics.median(least), 2),
    }


def build_prefix(prefix: Path, env: Mapping[str, str]) -> None:
    """Install the wheels' OpenSees for the direct runs, as the image has it."""
    script = ROOT / "packer" / "bake" / "build_opensees_wheels.sh"
    subprocess.run(
        ["bash", str(script), "2"], env={**env, "OPENSEES_HPC_PREFIX": str(prefix)}, stdout=sys.stderr, check=True
    )


def measure(home: Path, scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All the figures that were asked for."""
    env = {**os.environ, "OPENSEES_HPC_HOME": str(home), "OPENSEES_HPC_TARGET": "local"}
    prefix = args.prefix or scratch / "prefix"
    if args.prefix is None and {"trivial", "lines"} & args.only:
        build_prefix(prefix, env)
    around = Surroundings(root=ROOT, env=env, scratch=scratch, prefix=prefix)
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "trivial": lambda: measure_trivial_job(around, rounds=args.rounds),
        "lines": lambda: measure_line_delay(around),
        "list": lambda: measure_list(around),
        "memory": lambda: measure_memory(env, vms=IDLE_VMS),
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load_1min": round(os.getloadavg()[0], 2)}
    return {"machine": machine, **{name: run() for name, run in measures.items() if name in args.only}}


def show(figures: Mapping[str, Any]) -> None:
    """Figures as indented lines, the aim beside each group."""
    for group, values in figures.items():
        print(f"{group}" + (f"   (aim: {AIMS[group]})" if group in AIMS else ""))
        for name, value in values.items():
            shown = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
            print(f"  {name:34} {shown}")


def stop_cloud(home: Path) -> None:
    """End the embedded cloud that the benchmark started in a home of its own."""
    env = {**os.environ, "OPENSEES_HPC_HOME": str(home), "OPENSEES_HPC_TARGET": "local"}
    subprocess.run([sys.executable, "-m", "invoke", "local.stop"], cwd=ROOT, env=env, stdout=sys.stderr, check=False)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What invoke run adds to a job.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=3, help="counted runs of the trivial job")
    parser.add_argument("--home", type=Path, help="keep base, image and cloud here between runs")
    parser.add_argument("--prefix", type=Path, help="a prefix with OpenSees for the direct runs (default: a new one)")
    parser.add_argument("--only", type=lambda text: set(text.split(",")), default=set(AIMS), help=",".join(AIMS))
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    scratch = Path(tempfile.mkdtemp(prefix="opensees-hpc-overhead-"))
    home = args.home.absolute() if args.home else scratch / "home"
    try:
        figures = measure(home, scratch, args)
    finally:
        if args.only != {"list"}:
            stop_cloud(home)
        shutil.rmtree(scratch, ignore_errors=True)
    if args.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
