"""A process that downloads a batch's sets and kills itself in between: ``STATE_FOLDER RESULTS BATCH step|bytes|never [VALUE]``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from runner import wiring
from runner.results.delivery import Delivery
from runner.results.store import ResultSet
from runner.results.tracker import DownloadTracker


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Death:
    """When to die."""

    def __init__(self, mode: str, value: str) -> None:
        self._step = value if mode == "step" else ""
        self._bytes_left = int(value) if mode == "bytes" else 1 << 60

    def on_step(self, step: str, found: ResultSet) -> None:
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()
        if step == self._step:
            kill_oneself()

    def on_bytes(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            kill_oneself()


def main(downloaded: str, results: str, batch: str, mode: str, value: str = "") -> None:
    environment = {"OPENSEES_HPC_HOME": downloaded, "OPENSEES_HPC_TARGET": "local"}
    context = wiring.make_context(environment, results_folder=Path(results))
    death, store = Death(mode, value), context.cloud.results
    tracker = DownloadTracker(context.results_folder / batch)
    delivery = Delivery(store=store, tracker=tracker, on_step=death.on_step, on_bytes=death.on_bytes)
    for found in store.result_sets(batch):
        delivery.download(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
