"""Result sets on their way from the bucket to verified files in the folder for results.

Nothing here knows of VMs or of who runs what. What a job's end means is ``batch.outcome``'s.
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
