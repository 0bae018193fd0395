"""``invoke results``: list what is still in the bucket, by batch, and download the results of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.commands.arguments import check_batch_name
from runner.context import Context
from runner.errors import InputError, NotFoundError
from runner.results import Collected, Collector, DownloadedSet, DownloadTracker, ResultSet


@dataclass(frozen=True, kw_only=True)
class ResultsSummary:
    """What was downloaded of a batch's results."""

    batch: str
    collected: Collected

    @property
    def exit_code(self) -> int:
        """0 if all that was pushed is downloaded, 1 if something is corrupt or its push is not complete."""
        return 1 if self.collected.corrupt or self.collected.unfinished else 0

    @property
    def lines(self) -> list[str]:
        """For people."""
        downloaded, corrupt = self.collected.downloaded, self.collected.corrupt
        return [
            *(f"{_named(each.job, each.attempt)}: {each.files} files in {each.folder}" for each in downloaded),
            *(f"CORRUPT, kept in the bucket as {prefix}: {why}" for prefix, why in corrupt.items()),
            *(f"push not complete: {prefix}" for prefix in self.collected.unfinished),
            f"batch {self.batch}: {len(downloaded)} result sets downloaded, {len(corrupt)} corrupt",
        ]

    def as_json(self) -> dict[str, Any]:
        """JSON values of the event ``summary``."""
        return {
            "batch": self.batch,
            "exit_code": self.exit_code,
            "downloaded": [_downloaded(item) for item in self.collected.downloaded],
            "corrupt": [{"prefix": prefix, "message": why} for prefix, why in self.collected.corrupt.items()],
            "unfinished": list(self.collected.unfinished),
        }


def list_sets(context: Context) -> dict[str, Any]:
    """JSON values: ``bucket`` and ``batches``, each with its result sets that are still in the bucket.

    Raises:
        CloudError: the cloud does not answer, or not to us.
    """
    context.cloud.open()
    store = context.cloud.results
    try:
        sets = store.everything()
    except NotFoundError:  # the bucket is created with the base stack
        sets = []
    batches = sorted({found.batch for found in sets})
    return {
        "bucket": store.bucket,
        "batches": [
            {"name": batch, "sets": [_set(found) for found in sets if found.batch == batch]} for batch in batches
        ],
    }


def list_lines(values: dict[str, Any]) -> list[str]:
    """Return what ``list_sets`` found as lines for people."""
    lines = []
    for batch in values["batches"]:
        sets = batch["sets"]
        committed = [item for item in sets if item["committed"]]
        size = sum(item["bytes"] for item in sets)
        jobs = ", ".join(_named(item["job"], item["attempt"]) for item in committed) or "none complete yet"
        on_its_way = f", {len(sets) - len(committed)} not complete" if len(committed) < len(sets) else ""
        lines.append(f"{batch['name']}: {len(committed)} result sets{on_its_way}, {size:,} bytes: {jobs}")
    remedy = "`invoke results --batch NAME` downloads them"
    return [*lines, remedy] if lines else [f"no results in the bucket {values['bucket']}"]


def execute(context: Context, *, batch: str) -> ResultsSummary:
    """Download what a batch has in the bucket, whether it runs or not. Pushes that may still be under way are left alone.

    Nothing of a batch that is not over (it has control objects) is deleted in the bucket: its own client may be on another
    computer and would take the jobs for lost.

    Raises:
        InputError: no such batch is in the bucket or downloaded.
        DiskError: no disk space for the results; what is missing stays in the bucket.
        CloudError: the cloud does not answer, or not to us.
    """
    check_batch_name(batch, remedy="`invoke results` lists those with results")
    context.cloud.open()
    tracker = DownloadTracker(context.results_folder / batch)
    try:
        is_known = bool(tracker.downloaded_sets() or context.cloud.results.all_sets(batch))
    except NotFoundError:
        is_known = False
    if not is_known:
        where = f"neither in the bucket {context.cloud.results.bucket} nor in {context.results_folder}"
        raise InputError(f"batch {batch} has no results, {where}", remedy="`invoke results` lists those with results")
    is_not_over = bool(context.cloud.results.list_control(batch))
    collected = Collector(context.cloud.results, batch, tracker, context.listener, keeps_remote=is_not_over).finish(
        is_over=False
    )
    return ResultsSummary(batch=batch, collected=collected)


def _named(job: str, attempt: int) -> str:
    return f"{job} (attempt {attempt})" if attempt > 1 else job


def _set(found: ResultSet) -> dict[str, Any]:
    return {
        "job": found.job,
        "attempt": found.attempt,
        "push": found.push,
        "bytes": found.size_bytes,
        "committed": found.is_committed,
    }


def _downloaded(results: DownloadedSet) -> dict[str, Any]:
    return {
        "job": results.job,
        "attempt": results.attempt,
        "folder": str(results.folder),
        "files": results.files,
        "bytes": results.size_bytes,
    }
