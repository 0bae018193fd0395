"""``invoke attach``: continue a batch, on this computer or another one, given the bucket and the stack's state."""

from __future__ import annotations

import contextlib
import logging

from runner.batch import BatchRun, RunReport, RunSummary
from runner.commands.arguments import check_batch_name
from runner.context import Context
from runner.errors import InputError, NotFoundError
from runner.jobsfile import Definition, load_definition, open_batches
from runner.journal import Journal, NameTakenError, gone_clients
from runner.options.batches import Attach
from runner.teardown import check_known

_log = logging.getLogger(__name__)


def execute(context: Context, options: Attach, *, report: RunReport | None = None) -> RunSummary:
    """Take over a batch: logs continue where they stopped, finished jobs are not run again, waiting ones are started.

    A batch that cannot be continued is left as it was found. ``report`` has the summary also if an error is raised.

    Raises:
        InputError: no batch is open; or several are and none was named; or the named one is unknown, or its client is alive.
        WatchedError: another client that may be alive watches it, and ``take_over`` was not given.
        NotFoundError: the batch has ended, or never began.
    """
    if options.batch:
        check_batch_name(options.batch)
    with context.phases.phase("cloud"):
        context.cloud.open()
        name = options.batch or _only_open_batch(context)
        definition = _load_definition(context, name)
    known = context.journals.read(name)
    predecessors = () if known is None else gone_clients(known)
    with _journal(context, name) as journal:
        run = BatchRun(
            context=context.with_journal(journal),
            definition=definition,
            report=report or RunReport(),
            take_over=options.take_over,
            predecessors=predecessors,
        )
        return run.attach()


def _load_definition(context: Context, name: str) -> Definition:
    try:
        return load_definition(context, name)
    except NotFoundError:
        check_known(context, batch=name)  # an unknown name is a mistake of the user
        raise


def _only_open_batch(context: Context) -> str:
    found = open_batches(context)
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError("no batch to attach to", remedy="`invoke status` shows what exists")
    raise InputError(
        f"{len(found)} batches are open: {', '.join(found)}", remedy=f"name one: invoke attach --batch {found[0]}"
    )


def _journal(context: Context, name: str) -> Journal:
    """Open the batch's journal: the one on this computer, or a new one where another computer began it."""
    _log.info("the batch is %s", name, extra={"batch": name})
    settings, journal = context.settings, context.reporting_journals
    if name not in journal.names():
        # Another attach may have begun it just now; whether that one still runs is seen below.
        with contextlib.suppress(NameTakenError):
            return journal.begin(name, "run", target=settings.target, project=settings.project)
    return journal.resume(name)
