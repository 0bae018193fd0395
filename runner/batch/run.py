"""One client's part in a batch, from taking its lease to leaving it: the client that began it, or one that attached later."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from runner.batch.adoption import find_finished, take_over_vms
from runner.batch.end import BatchEnd, PartEnd
from runner.batch.parts import BatchParts, put_together
from runner.batch.summary import RunReport, RunSummary
from runner.context import JournalContext
from runner.errors import LeftoverError
from runner.jobsfile import Definition, save_definition
from runner.model.roster import VMState
from runner.teardown import Steps, raised_signals


@dataclass(frozen=True, kw_only=True)
class BatchRun:
    """One client's part in a batch. ``detach``: leave as soon as every VM has as many jobs as it can take.

    ``report`` has the summary in the end, whatever is raised. ``take_over``, ``predecessors``: see ``LeaseTerms``.
    """

    context: JournalContext
    definition: Definition
    report: RunReport = field(default_factory=RunReport)
    detach: bool = False
    take_over: bool = False
    predecessors: Collection[str] = ()

    def begin(self) -> RunSummary:
        """Create the VMs, run the jobs, end the batch."""
        return self._run(PartEnd.ENDED)

    def attach(self) -> RunSummary:
        """Run a batch that exists: VMs, jobs that run, results that wait. Until that succeeds it is left as found."""
        return self._run(PartEnd.LEFT_AS_FOUND)

    def _run(self, end_if_not_ready: PartEnd) -> RunSummary:
        """Take the lease, get ready, run the jobs; then end this client's part the way that ``BatchEnd`` says.

        What ends it is registered first, so that it runs last: connections are closed and VMs gone before the last downloads.
        """
        context, batch = self.context, self.definition.plan.batch
        parts = put_together(context, self.definition, take_over=self.take_over, predecessors=self.predecessors)
        end = BatchEnd(context=context, definition=self.definition, parts=parts, planned=end_if_not_ready)
        outcome = "completed"
        try:
            with raised_signals(), parts.lease, Steps(context.listener) as steps:
                steps.undo("download what is still in the bucket", lambda: end.download_rest(steps.hurry))
                steps.undo(f"end batch {batch}", lambda: end.leave(steps.hurry))
                steps.undo("close the connections", parts.controller.close)
                steps.undo("stop watching", parts.fleet.close)
                steps.undo("stop downloads", parts.downloads.stop)
                self._get_ready(parts, is_new=end_if_not_ready is PartEnd.ENDED)
                end.plan(PartEnd.ENDED)
                parts.downloads.start()
                with context.phases.phase("jobs"):
                    has_ended = parts.controller.run(until_busy=self.detach)
                if not has_ended:
                    end.detach()
        except LeftoverError:  # the summary names what is left
            if not parts.controller.roster.is_over:
                raise
        except BaseException as error:
            outcome = str(error) or type(error).__name__
            raise
        finally:
            end.close_journal(outcome)
            self.report.summary = summary = end.summary()
        return summary

    def _get_ready(self, parts: BatchParts, *, is_new: bool) -> None:
        """Save and learn everything that has to exist or be known before the first job is started."""
        context = self.context
        context.journal.intend("stack", self.definition.plan.batch, "analysis")
        if is_new:
            save_definition(context, self.definition)
        parts.fleet.start()
        if is_new:
            return
        with context.phases.phase("attach"):
            find_finished(context, self.definition, parts)
            take_over_vms(context, parts)
            if parts.controller.roster.has(
                VMState.LOST
            ):  # the jobs that they had, and may have pushed since, are unknown
                find_finished(context, self.definition, parts)
