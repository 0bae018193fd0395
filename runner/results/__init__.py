"""Downloads of result sets, from the bucket to verified files in the results folder.

Nothing here knows about VMs or which of them runs which job. ``batch.outcome`` interprets the end of a job.
"""

from runner.results.collector import THREADS, Collected, Collector
from runner.results.corrupt_pushes import CorruptPushError
from runner.results.manifest import CHUNK_BYTES, Checked, CorruptResultsError, check_name, copy_checked
from runner.results.store import ControlObject, ResultSet, ResultStore
from runner.results.tracker import DownloadedSet, DownloadTracker

__all__ = [
    "CHUNK_BYTES",
    "THREADS",
    "Checked",
    "Collected",
    "Collector",
    "ControlObject",
    "CorruptPushError",
    "CorruptResultsError",
    "DownloadTracker",
    "DownloadedSet",
    "ResultSet",
    "ResultStore",
    "check_name",
    "copy_checked",
]
