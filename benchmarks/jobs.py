"""What the job interface costs: seconds of each verb over SSH, at 0 and at 40 ms of added round-trip time, beside a plain ``ssh`` that does the least for the same.

    ./bootstrap python -m benchmarks.jobs [--json] [--rounds 5] [--round-trip-ms 0,40] [--jobs-found 5000]

A private sshd on loopback, and a proxy that delays. Figures are printed, never judged: they depend on the machine and on what else it does.
The round trips are those that the added delay shows: what a verb takes longer at 40 ms, in units of 40 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import spread
from benchmarks.proxy import Proxy, run_proxy
from runner.hardware import Job, UnixServerScriptInterface
from tests.hardware.sshd import Sshd

MANY_SUBMITS = 20
MANY_JOBS = 200
MANY_CANCELS = (50, 200)
MANY_STATES = 500
WAIT_S = 300.0
SIMULATOR = 'IFS=, read -r kind value <"$1"; [ "$kind" = 1 ] || exec sleep 600; echo "$value" >"$2"\n'
AIMS = {
    "submit": "under 0.13 s at 40 ms",
    "submit_200": "under 1 s at 40 ms",
    "status_500": "under 0.1 s at 40 ms",
    "cancel_200": "under 5 times cancel_50",
    "attach": "under 1 s (5000 jobs)",
}


@dataclass(kw_only=True)
class Bench:
    """A server, the way to it, and the times taken so far by verb."""

    server: Sshd
    proxy: Proxy
    script: Path
    rounds: int
    folder: Path
    times: dict[str, list[float]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def open(self, workspace: Path | None = None) -> UnixServerScriptInterface:
        """Return a new interface, through the proxy."""
        return UnixServerScriptInterface(
            self.server.user,
            f"127.0.0.1:{self.proxy.own_port}",
            "/bin/sh",
            str(self.script),
            "bench",
            workspace_dir=workspace,
            key_filename=self.server.key,
            host_keys=[self.server.host_key_line],
        )

    def ssh(self, command: str, control: Path | None = None) -> Sequence[str]:
        """Return the command of the stock client, on a connection of its own or on one that is open."""
        options = [
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ]
        if control is not None:
            options += ["-o", f"ControlPath={control}"]
        target = ["-i", str(self.server.key), "-p", str(self.proxy.own_port), f"{self.server.user}@127.0.0.1"]
        return ["ssh", *options, *target, command]

    def take(self, verb: str, work: Callable[[], object]) -> None:
        """Time one piece of work."""
        begun = time.perf_counter()
        work()
        self.times.setdefault(verb, []).append(time.perf_counter() - begun)


def measure_verbs(bench: Bench) -> None:
    """Our verbs, on an open connection."""
    with bench.open() as jobs:
        for _ in range(bench.rounds):
            number = next(bench.numbers)
            bench.take("submit", lambda number=number: jobs.submit_job(Job(number, (1, 2))))  # type: ignore[misc]
            jobs.wait([number], timeout=WAIT_S)
            bench.take("status", lambda number=number: jobs.get_job_status(number))  # type: ignore[misc]
            bench.take("output", lambda number=number: jobs.get_job_output(number))  # type: ignore[misc]
            number = next(bench.numbers)
            jobs.submit_job(Job(number, (2, 2)))
            bench.take("cancel", lambda number=number: jobs.cancel_job(number))  # type: ignore[misc]
        for _ in range(max(1, bench.rounds // 2)):
            some = [next(bench.numbers) for _ in range(MANY_SUBMITS)]
            bench.take("submit_20_one_by_one", lambda some=some: submit_one_by_one(jobs, some))  # type: ignore[misc]
            many = [next(bench.numbers) for _ in range(MANY_JOBS)]
            bench.take("submit_200", lambda many=many: jobs.submit_jobs([Job(one, (1, 2)) for one in many]))  # type: ignore[misc]
            jobs.wait([*some, *many], timeout=WAIT_S)


def measure_cancels(bench: Bench) -> None:
    """Many running jobs ended in one call."""
    with bench.open() as jobs:
        for _ in range(max(1, bench.rounds // 2)):
            for count in MANY_CANCELS:
                some = [next(bench.numbers) for _ in range(count)]
                jobs.submit_jobs([Job(number, (2, 2)) for number in some])
                bench.take(f"cancel_{count}", lambda some=some: jobs.cancel_jobs(some))  # type: ignore[misc]


def submit_one_by_one(jobs: UnixServerScriptInterface, numbers: Sequence[int]) -> None:
    """One call for each job."""
    for number in numbers:
        jobs.submit_job(Job(number, (1, 2)))


def measure_crowds(bench: Bench, jobs_found: int) -> None:
    """Workspaces that hold many jobs."""
    crowd = make_workspace(bench.folder / f"crowd-{next(bench.numbers)}", MANY_STATES)
    with bench.open(crowd) as jobs:
        for _ in range(bench.rounds):
            bench.take("status_500", jobs.get_job_statuses)
    crowd = make_workspace(bench.folder / f"crowd-{next(bench.numbers)}", jobs_found)
    for _ in range(bench.rounds):
        bench.take("attach", lambda: bench.open(crowd).close())


def make_workspace(folder: Path, count: int) -> Path:
    """Create a workspace in which ``count`` jobs have ended."""
    files = {"settings": "", "limits": "token=0.x\nlog_name=log", "placed": "1 1 x", "run": "1 1 x 0.0"}
    files["end"] = "ended 0 1 10.00 12.50 0m0.10s 0m0.01s"
    for number in range(count):
        state = folder / str(number) / ".job"
        state.mkdir(parents=True)
        for name, line in files.items():
            (state / name).write_text(line + "\n")
    return folder


def measure_plain_ssh(bench: Bench) -> None:
    """Time the least that a person would type for the same, each time on a new connection, and on one that is open."""
    control = bench.folder / "c"
    folder = bench.folder / "plain"
    begin = f"d={folder}/$$; mkdir -p $d && cat >$d/input.csv && {{ nohup sh {bench.script} $d/input.csv $d/output.txt </dev/null >$d/log 2>&1 & }}"
    look = f"cat {folder}/*/output.txt"
    master = subprocess.Popen(
        ["ssh", "-M", "-N", *bench.ssh("x", control)[1:-1]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not control.exists():
            time.sleep(0.02)
        for _ in range(bench.rounds):
            for name, path in (("fresh", None), ("open", control)):
                bench.take(f"plain_ssh_submit_{name}", lambda path=path: run(bench.ssh(begin, path), b"1,2\n"))  # type: ignore[misc]
                bench.take(f"plain_ssh_status_{name}", lambda path=path: run(bench.ssh(look, path), b""))  # type: ignore[misc]
    finally:
        master.terminate()
        master.wait()


def run(command: Sequence[str], stdin: bytes) -> None:
    """Run the stock client; what the remote command says does not matter here."""
    subprocess.run(command, input=stdin, capture_output=True, timeout=WAIT_S)


def count_round_trips(slow: dict[str, list[float]], quick: dict[str, list[float]], added_s: float) -> dict[str, float]:
    """How many round trips the added delay shows, by verb."""
    return {
        verb: round((statistics.median(slow[verb]) - statistics.median(quick[verb])) / added_s, 1)
        for verb in slow
        if verb in quick
    }


@contextlib.contextmanager
def start_server() -> Iterator[tuple[Sshd, Path]]:
    """Start a private sshd, with a script to run."""
    with tempfile.TemporaryDirectory(prefix="hpc-bench-") as name:
        folder = Path(name)
        (folder / "simulate.sh").write_text(SIMULATOR)
        server = Sshd(folder=folder / "sshd")
        server.prepare()
        server.start()
        try:
            yield server, folder
        finally:
            server.stop()


def measure(rounds: int, round_trips_ms: Sequence[float], jobs_found: int) -> dict[str, Any]:
    """Measure everything, at each round-trip time."""
    times: dict[float, dict[str, list[float]]] = {}
    with start_server() as (server, folder):
        for added_ms in round_trips_ms:
            with run_proxy(server.port, delay_s=added_ms / 2000) as proxy:
                bench = Bench(
                    server=server,
                    proxy=proxy,
                    script=folder / "simulate.sh",
                    rounds=rounds,
                    folder=folder / f"at-{added_ms:g}",
                )
                bench.folder.mkdir()
                measure_verbs(bench)
                measure_cancels(bench)
                measure_crowds(bench, jobs_found)
                measure_plain_ssh(bench)
                times[added_ms] = bench.times
    first, last = times[round_trips_ms[0]], times[round_trips_ms[-1]]
    added_s = (round_trips_ms[-1] - round_trips_ms[0]) / 1000
    return {
        "aims": AIMS,
        "seconds": {
            f"{added_ms:g} ms": {verb: spread(taken) for verb, taken in by_verb.items()}
            for added_ms, by_verb in times.items()
        },
        "round_trips": count_round_trips(last, first, added_s) if added_s else {},
    }


def print_table(found: dict[str, Any]) -> None:
    """Format the figures for people."""
    columns = list(found["seconds"])
    print(f"{'':28}" + "".join(f"{column:>14}" for column in columns) + f"{'round trips':>14}   aim")
    for verb in found["seconds"][columns[0]]:
        cells = "".join(f"{found['seconds'][column][verb]['median']:>12.3f} s" for column in columns)
        print(f"{verb:28}{cells}{found['round_trips'].get(verb, ''):>14}   {AIMS.get(verb, '')}")


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--round-trip-ms", default="0,40", help="added round-trip times, separated by commas")
    parser.add_argument("--jobs-found", type=int, default=5000, help="jobs in the workspace that is attached to")
    given = parser.parse_args(arguments)
    found = measure(given.rounds, [float(text) for text in given.round_trip_ms.split(",")], given.jobs_found)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print_table(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
