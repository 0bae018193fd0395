"""Two attaches at once: one runs the batch, the other ends with a sentence, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.batch.clients.client import Client
from tests.support.bucket import Batch

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 120
TIMES = 3


@dataclass(frozen=True, kw_only=True)
class Attach:
    """A client's process."""

    process: subprocess.Popen[str]

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Return what it says next; fail with what ended it if it says nothing."""
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)


@contextlib.contextmanager
def attaching(batch: Batch, state_folder: Path) -> Iterator[Attach]:
    command = [
        sys.executable,
        "-m",
        "tests.batch.clients.attach_child",
        str(batch.site.home),
        batch.name,
        str(state_folder),
    ]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            yield Attach(process=process)
        finally:
            process.kill()


@pytest.mark.parametrize("journal", ["none", "left by another"])
@pytest.mark.parametrize("number", range(TIMES))
def test_on_one_computer(client: Client, batch: Batch, number: int, journal: str) -> None:
    client.define("a", "b", "c")
    client.write_lease(detached=True)
    if journal != "none":
        client.context.journals.begin(batch.name, "run").close()
    loser = race(batch, client.state_folder, client.state_folder)
    assert (loser[0], loser[1]) == ("InputError", 2), loser
    assert "is being run by" in loser[2]
    assert "wait until that process has ended" in loser[3]


@pytest.mark.parametrize("lease", ["detached", "none"])
@pytest.mark.parametrize("number", range(TIMES))
def test_on_two_computers(client: Client, batch: Batch, tmp_path: Path, number: int, lease: str) -> None:
    client.define("a", "b", "c")
    if lease != "none":
        client.write_lease(detached=True)
    loser = race(batch, tmp_path / "one", tmp_path / "two")
    assert (loser[0], loser[1]) == ("WatchedError", 4), loser
    assert f"batch {batch.name} is watched by" in loser[2]
    assert "--take-over" in loser[3]


def race(batch: Batch, *state_folders: Path) -> list[Any]:
    """Let clients with these state_folders go at once; return how the one ended that did not get the batch."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(state_folders)) as pool:
        clients = [stack.enter_context(attaching(batch, state_folder)) for state_folder in state_folders]
        assert [client.hear() for client in clients] == ["ready"] * len(state_folders)
        for client in clients:
            client.go()
        said = list(pool.map(Attach.hear, clients))
        assert said.count("up") == 1, said
        winner = clients[said.index("up")]
        winner.go()
        assert winner.hear()[2] == "no VM today"
        (loser,) = (words for words in said if words != "up")
        return list(loser)
