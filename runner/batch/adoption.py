"""Taking over a batch that another client began: what is finished, what runs where, what still waits.

What counts is on the VMs, in the bucket and in the results folder. No job is started before every VM has reported its jobs,
or is known to be lost: a job must not run twice.
"""

from __future__ import annotations

from runner.batch.controller import Controller
from runner.batch.download_notes import read_download_notes
from runner.batch.downloads import Downloads
from runner.batch.live_logs import LiveLogs
from runner.batch.outcome import read_outcome
from runner.batch.parts import BatchParts
from runner.batch.summary import JobOutcome
from runner.context import Context, JournalContext
from runner.errors import DiskError
from runner.jobsfile import Definition
from runner.lease import read_preempted
from runner.model.journal_state import JournalState
from runner.model.states import JobState
from runner.results import DownloadTracker


def find_finished(context: JournalContext, definition: Definition, parts: BatchParts) -> None:
    """Download what is in the bucket, and set aside the jobs that have ended, except those that were started again."""
    has_room = True
    listener, tracker = context.listener, parts.tracker
    downloaded_before = {results.key for results in tracker.downloaded_sets()}
    try:
        parts.collector.finish(is_over=False)
    except DiskError as error:
        has_room = False
        listener.warn(f"downloads paused; results wait in the bucket until there is disk space: {error}")
    live_logs = LiveLogs(context.results_folder / definition.plan.batch, listener)
    for results in tracker.downloaded_sets():
        if results.key not in downloaded_before:
            live_logs.show_rest(results)
    restore_finished(context, definition, tracker, parts.controller)
    if not has_room:
        set_aside_pushed(context, definition, parts.controller)


def restore_finished(
    context: Context, definition: Definition, tracker: DownloadTracker, controller: Controller
) -> None:
    """Record as ended the waiting jobs whose verified results are already downloaded, here or by another client.

    The same goes for a job whose folder the user has moved since: its note in the bucket, if any, says how it ended.
    """
    noted = read_download_notes(context, definition.plan.batch)
    for inputs in definition.inputs:
        name, results = inputs.job.name, tracker.find(inputs.job.name)
        found = noted.get(name)
        if results is not None and results.folder.is_dir():
            here = read_outcome(results.folder, name=name, expect=inputs.job.expect)
            found = found if found is not None and here.state is JobState.LOST else here
        if found is not None and found.state is not JobState.LOST:
            controller.set_aside(found)
        elif results is not None:
            message = f"it ended earlier; its results were downloaded to {results.folder}, where nothing shows any longer how it ended"
            controller.set_aside(JobOutcome(name=name, state=JobState.LOST, results=results.folder, message=message))


def set_aside_pushed(context: Context, definition: Definition, controller: Controller) -> None:
    """Record as ended the jobs whose results wait in the bucket because there is no disk space: they are not run again."""
    pushed = {found.job for found in context.cloud.results.result_sets(definition.plan.batch)}
    message = "it ended earlier; its results are in the bucket, as this computer had no disk space for them"
    for inputs in definition.inputs:
        name = inputs.job.name
        if name in pushed:
            controller.set_aside(JobOutcome(name=name, state=JobState.LOST, message=message))


def take_over_vms(context: JournalContext, parts: BatchParts) -> None:
    """Learn from every existing VM which jobs it has, and follow those.

    Downloads continue meanwhile: a VM may be lost before all others were asked, and its jobs have not ended before their results are downloaded.
    """
    journal, controller = context.journal.read(), parts.controller
    _note_attempts(context, journal, controller)
    instances = context.cloud.compute.instances(journal.labels)
    preempted = read_preempted(context.cloud.results, journal.name)
    known = (resource.name for resource in journal.resources)
    controller.expect_vms(instances, names_used={*known, *preempted, *(instance.name for instance in instances)})
    parts.fleet.adopt(instances, answered=journal.answered)
    with Downloads(parts.collector):
        controller.learn_jobs()


def _note_attempts(context: Context, journal: JournalState, controller: Controller) -> None:
    """Note the numbers of attempts that journal and bucket know: a new attempt must not meet an old one's objects."""
    for trace in journal.jobs:
        controller.note_attempt(trace.name, int(trace.facts.get("attempt") or 0))
    for found in context.cloud.results.all_sets(journal.name):
        controller.note_attempt(found.job, found.attempt)
