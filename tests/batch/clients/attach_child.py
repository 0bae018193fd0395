"""A process that attaches to a batch on a signal from the test: ``python -m tests.batch.clients.attach_child SITE BATCH STATE_FOLDER``

Says ``ready``, waits for a line, attaches, and says ``up`` if it runs the batch, with its VMs still to be created; then it waits for
another line and fails. Last it says the error that ended it: its type, its exit code, its message and remedy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runner.commands import attach
from runner.emulator import control
from runner.errors import HpcError
from runner.options.batches import Attach
from tests.batch.clients.client import Client, Engine
from tests.support.bucket import Batch, Site


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class SlowEngine(Engine):
    """Waits for the signal before it fails."""

    def up(self, *args: Any, **more: Any) -> Any:
        say("up")
        sys.stdin.readline()
        return super().up(*args, **more)


def main(site_home: Path, name: str, state_folder: Path) -> None:
    endpoint = control.status(site_home / "local" / "cloud")
    assert endpoint is not None
    site = Site(home=site_home, endpoint=endpoint)
    batch = Batch(site=site, name=name, context=site.context(state_folder / "results"))
    client = Client(batch=batch, state_folder=state_folder, engine=SlowEngine())
    client.context.cloud.results.list_control(name)  # whatever is loaded or opened only once
    say("ready")
    sys.stdin.readline()
    try:
        attach.execute(client.context, Attach(batch=name))
    except HpcError as error:
        say([type(error).__name__, error.exit_code, error.message, error.remedy])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
