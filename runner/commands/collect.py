"""Results on their way home: one result set, and at the end of a batch all that is still in the bucket."""

from __future__ import annotations

from pathlib import Path

from runner.commands.context import Context
from runner.commands.events import Listener
from runner.core.storage import ResultSet


def bring_home(context: Context, found: ResultSet, listener: Listener) -> Path:
    """Download a result set, verified, and only then delete it in the bucket; its folder.

    Raises:
        CorruptResultsError: it is not what its manifest says; it stays in the bucket.
    """
    into = context.results_folder / found.batch / found.job
    manifest = context.cloud.results.download(found, into)
    context.cloud.results.delete(found)
    listener.tell("results", job=found.job, files=len(manifest.files), bytes=manifest.archive.size, folder=str(into))
    return into


def collect_rest(context: Context, batch: str, listener: Listener) -> None:
    """Bring home what a batch that is over still has in the bucket: results of jobs that nobody waited for any more."""
    for found in context.cloud.results.result_sets(batch):
        bring_home(context, found, listener)
    for prefix in context.cloud.results.discard_unfinished(batch):
        listener.tell(
            "warning", message=f"{prefix}: the push did not come to its end before its VM was gone; discarded"
        )
