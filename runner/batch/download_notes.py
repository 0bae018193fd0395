"""Notes in the bucket of the results that clients have downloaded: a client elsewhere must not run those jobs again.

Results are deleted in the bucket once they are downloaded, so nothing else there shows them. The notes are deleted when the batch ends.
"""

from __future__ import annotations

import json
import platform

from runner.batch.outcome import read_outcome
from runner.batch.summary import JobOutcome
from runner.context import Context
from runner.jobsfile import Definition
from runner.model import names
from runner.model.foreign import decode_json, exit_code, optional, real_number
from runner.model.states import JobState
from runner.results import DownloadedSet


def note_download(context: Context, definition: Definition, results: DownloadedSet) -> None:
    """Note a result set that was downloaded to this computer, with the job's outcome. Noting it twice is harmless.

    Raises:
        CloudError: it could not be noted.
    """
    expectations = {item.job.name: item.job.expect for item in definition.inputs}
    if results.job not in expectations:
        return
    outcome = read_outcome(results.folder, name=results.job, expect=expectations[results.job])
    content = json.dumps({"host": platform.node(), **outcome.as_json()}).encode()
    marker = names.home_marker(results.job, results.attempt)
    context.cloud.results.put_control(definition.plan.batch, marker, content)


def read_download_notes(context: Context, batch: str) -> dict[str, JobOutcome]:
    """Return outcomes by job of the newest attempts that any client has downloaded. A corrupt note is ignored: no client of
    ours writes one, and it must not stop the other jobs.

    Raises:
        CloudError: the notes cannot be read.
    """
    store, newest = context.cloud.results, dict[str, int]()
    for name in store.list_control(batch):
        attempt = names.read_attempt_folder(name.removeprefix(names.HOME_MARKERS))
        if attempt is not None and name.startswith(names.HOME_MARKERS):
            newest[attempt[0]] = max(attempt[1], newest.get(attempt[0], 0))
    notes = {job: store.get_control(batch, names.home_marker(job, attempt)) for job, attempt in newest.items()}
    found = {job: _read_note(job, note.content) for job, note in notes.items() if note is not None}
    return {job: outcome for job, outcome in found.items() if outcome is not None}


def _read_note(job: str, content: bytes) -> JobOutcome | None:
    try:
        values = decode_json(content)
        where = f"its results were downloaded to {values['host']!s}, in {values['results']!s}"
        return JobOutcome(
            name=job,
            state=JobState(values["status"]),
            exit_code=optional(exit_code, values["exit_code"]),
            signal=optional(exit_code, values.get("signal")),  # an older client notes none
            wall_s=optional(real_number, values["wall_s"]),
            core_s=optional(real_number, values["core_s"]),
            message="; ".join(part for part in (str(values["message"]), where) if part),
        )
    except (KeyError, TypeError, ValueError):
        return None
