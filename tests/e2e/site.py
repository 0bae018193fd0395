"""A user's computer in miniature: a state folder of its own, commands as a user types them, an embedded cloud that ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from infra.engine.cli import cache_of
from tests.needs import need

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 900


@dataclass(kw_only=True)
class Site:
    """Runs ``invoke`` in the clone ``root`` with its state in ``home``. ``bakes``: False if every command fails before a bake."""

    home: Path
    root: Path = ROOT
    more: Mapping[str, str] = field(default_factory=dict)
    bakes: bool = True

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands: ours without anything of opensees-hpc or Pulumi."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("OPENSEES_HPC_", "PULUMI_", "GOOGLE_"))
        }
        cache = {"OPENSEES_HPC_CACHE": str(cache_of(os.environ))}  # wherever ``more`` moves HOME to
        return kept | cache | {"OPENSEES_HPC_HOME": str(self.home), "PYTHONUNBUFFERED": "1"} | dict(self.more)

    def command(self, *words: str) -> list[str]:
        """Return the command line of ``invoke`` in our own environment."""
        if self.bakes and words[:1] in (("run",), ("build",)):
            need("tcl")
        return [str(Path(sys.executable).parent / "invoke"), *words]

    def invoke(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``invoke words…`` to its end, without a terminal."""
        return subprocess.run(
            self.command(*words),
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def start(self, *words: str, output: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start ``invoke words…`` in a process group of its own. ``output``: for its stdout and stderr."""
        return subprocess.Popen(
            self.command(*words),
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )

    def run_batch(self, jobs: Path, results: Path) -> Batch:
        """Run ``invoke run --yes --json``."""
        done = self.invoke("run", "--jobs", str(jobs), "--yes", "--json", "--results", str(results))
        return Batch(exit_code=done.returncode, events=read_events(done.stdout), stderr=done.stderr)

    def status(self) -> dict[str, Any]:
        """Return the output of ``invoke status --json``."""
        done = self.invoke("status", "--json")
        assert done.returncode == 0, done.stderr
        values: dict[str, Any] = json.loads(done.stdout)
        return values

    def close(self) -> None:
        """Stop the embedded cloud."""
        self.invoke("local.stop")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The output of a run."""

    exit_code: int
    events: Sequence[dict[str, Any]]
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last event."""
        assert self.events and self.events[-1]["event"] == "summary", (self.events[-5:], self.stderr)
        return self.events[-1]

    def job(self, name: str) -> dict[str, Any]:
        """Return a job of the summary."""
        found: dict[str, Any] = next(job for job in self.summary["jobs"] if job["name"] == name)
        return found

    def log(self, name: str) -> list[str]:
        """Return the lines of a job, as they were streamed."""
        return [event["line"] for event in self.events if event["event"] == "log" and event["job"] == name]


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Poll until a condition holds, for a generous time."""
    give_up_at = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < give_up_at, f"timed out waiting for {what}"
        time.sleep(0.1)


def read_events(text: str) -> list[dict[str, Any]]:
    """Parse JSON lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def end(process: subprocess.Popen[str], signum: signal.Signals) -> tuple[int, str, str]:
    """Send a signal to a command and wait for its end; return exit code, stdout, stderr."""
    process.send_signal(signum)
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    return process.returncode, stdout, stderr
