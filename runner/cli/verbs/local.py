"""The verbs of the embedded cloud itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

from runner.cli.verbs.verb import ask, verb, write, write_exports
from runner.errors import DeclinedError
from runner.options import local
from runner.wiring import embedded


@verb
def start(_: local.Start) -> int:
    """Start the embedded cloud."""
    endpoint = embedded.start_embedded_cloud(os.environ)
    write(f"the embedded cloud is running at {endpoint.url}")
    return 0


@verb
def stop(_: local.Stop) -> int:
    """Stop the embedded cloud."""
    was_running = embedded.stop_embedded_cloud(os.environ)
    write("the embedded cloud has stopped" if was_running else "the embedded cloud was not running")
    return 0


@verb
def status(options: local.Status) -> int:
    """Show whether the embedded cloud is running."""
    values = embedded.embedded_cloud_status(os.environ)
    if options.json:
        write(json.dumps(values))
        return 0
    if values["running"]:
        write(
            f"the embedded cloud is running at {values['url']} (process {values['pid']}); its state: {values['state']}"
        )
        if not values["objects_closed"]:
            write("other users of this computer can reach the objects in its buckets: see docs/safety.md")
    else:
        write(f"the embedded cloud is not running; its state: {values['state']}")
    write(f"tracebacks in its log, each a bug in opensees-hpc: {values['tracebacks']}; its log: {values['log']}")
    return 0


@verb
def reset(options: local.Reset) -> int:
    """Delete the embedded cloud with its stacks, journals and receipts."""
    what = "everything in the embedded cloud (images, VMs, buckets with results that are not downloaded)"
    memory = "the state of its stacks, and the journals and receipts of its batches"
    if not options.yes and not ask(f"Delete {what}, {memory}?"):
        raise DeclinedError("nothing was deleted", remedy="confirm, or give --yes where nobody can be asked")
    embedded.reset_embedded_cloud(os.environ)
    write(f"the embedded cloud is empty; also deleted: {memory}")
    return 0


@verb
def faults(options: local.Faults) -> int:
    """Arm the faults of a scenario, or disarm all; then list what is armed."""
    if options.clear:
        embedded.clear_faults(os.environ)
    file = Path(options.scenario)
    values = embedded.play_scenario(os.environ, file) if options.scenario else embedded.list_faults(os.environ)
    for shown in [values] if options.json else [*values["faults"], *values["scenario"]]:
        write(json.dumps(shown))
    return 0


@verb
def env(_: local.Env) -> int:
    """Print the environment for Google's clients."""
    write_exports(embedded.google_client_environment(os.environ))
    return 0
