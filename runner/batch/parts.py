"""The parts of one client of a batch, put together: lease, downloads, fleet and controller.

Threads of all of them report to one inbox, from which the controller reads. Nothing is started here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runner.batch.controller import Controller
from runner.batch.download_notes import note_download
from runner.batch.downloads import Downloads
from runner.batch.fleet import Fleet
from runner.batch.messages import DeadlinesMoved, Inbox, LeaseGone, LeaseLost, ResultsDownloaded
from runner.batch.stack import BatchStack
from runner.context import JournalContext
from runner.jobsfile import Definition
from runner.lease import LeaseEvents, LeaseKeeper, LeaseTerms
from runner.results import Collector, DownloadedSet, DownloadTracker


@dataclass(frozen=True, kw_only=True)
class BatchParts:
    """The parts of one client. ``downloads`` is ``collector`` at work in a thread of its own."""

    lease: LeaseKeeper
    tracker: DownloadTracker
    collector: Collector
    downloads: Downloads
    fleet: Fleet
    controller: Controller


def put_together(
    context: JournalContext, definition: Definition, *, take_over: bool, predecessors: Collection[str]
) -> BatchParts:
    """Return the parts for a batch. ``take_over``, ``predecessors``: see ``LeaseTerms``."""
    inbox = Inbox()
    batch, store = definition.plan.batch, context.cloud.results

    def on_download(results: DownloadedSet) -> None:
        note_download(context, definition, results)
        inbox.add(ResultsDownloaded(results=results))

    terms = _lease_terms(context, definition, take_over=take_over, predecessors=predecessors)
    lease = LeaseKeeper(store, terms, _lease_events(inbox))
    tracker = DownloadTracker(context.results_folder / batch)
    collector = Collector(store, batch, tracker, context.listener, on_downloaded=on_download)
    fleet = Fleet(
        context=context,
        stack=BatchStack(context=context, definition=definition, check=lease.check),
        max_run_s=definition.plan.max_run_s,
        report=inbox.add,
    )
    controller = Controller(
        context=context,
        plan=definition.plan,
        inputs=definition.inputs,
        collector=collector,
        fleet=fleet,
        inbox=inbox,
        check=lease.check,
    )
    return BatchParts(
        lease=lease,
        tracker=tracker,
        collector=collector,
        downloads=Downloads(collector),
        fleet=fleet,
        controller=controller,
    )


def _lease_terms(
    context: JournalContext, definition: Definition, *, take_over: bool, predecessors: Collection[str]
) -> LeaseTerms:
    owner = context.journal.read().owner
    return LeaseTerms(
        batch=definition.plan.batch,
        lease_s=context.settings.lease_s,
        holder=str(owner),
        holder_id="" if owner is None else owner.identity,
        take_over=take_over,
        predecessors=predecessors,
        deadlines={item.job.name: item.job.timeout_s for item in definition.inputs},
    )


def _lease_events(inbox: Inbox) -> LeaseEvents:
    return LeaseEvents(
        on_change=lambda lease: inbox.add(DeadlinesMoved(deadlines=lease.deadlines)),
        on_lost=lambda lease: inbox.add(LeaseLost(holder=lease.holder)),
        on_gone=lambda: inbox.add(LeaseGone()),
    )
