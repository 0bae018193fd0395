"""A user's machine in small: a home of its own, commands as a user types them, an embedded cloud that ends with it."""

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
    """Runs ``invoke`` in the clone ``root`` with its state in ``home``. ``bakes``: not if every command is refused before."""

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
        """``invoke`` of our own environment."""
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
        """Begin ``invoke words…`` in a process group of its own. ``output``: where all that it prints goes."""
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
        """``invoke run --yes --json``."""
        done = self.invoke("run", "--jobs", str(jobs), "--yes", "--json", "--results", str(results))
        return Batch(exit_code=done.returncode, events=read_events(done.stdout), stderr=done.stderr)

    def status(self) -> dict[str, Any]:
        """``invoke status --json``."""
        done = self.invoke("status", "--json")
        assert done.returncode == 0, done.stderr
        values: dict[str, Any] = json.loads(done.stdout)
        return values

    def close(self) -> None:
        """Stop the embedded cloud."""
        self.invoke("local.stop")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a run said."""

    exit_code: int
    events: Sequence[dict[str, Any]]
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last event."""
        assert self.events and self.events[-1]["event"] == "summary", (self.events[-5:], self.stderr)
        return self.events[-1]

    def job(self, name: str) -> dict[str, Any]:
        """A job of the summary."""
        found: dict[str, Any] = next(job for job in self.summary["jobs"] if job["name"] == name)
        return found

    def log(self, name: str) -> list[str]:
        """The lines of a job, as they were streamed."""
        return [event["line"] for event in self.events if event["event"] == "log" and event["job"] == name]


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Look again and again, for a generous time."""
    give_up_at = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < give_up_at, f"waited in vain for {what}"
        time.sleep(0.1)


def read_events(text: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def end(process: subprocess.Popen[str], signum: signal.Signals) -> tuple[int, str, str]:
    """Send a signal to a command and wait for its end; exit code, stdout, stderr."""
    process.send_signal(signum)
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    return process.returncode, stdout, stderr
