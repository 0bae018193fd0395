"""A batch from its definition to its end, whoever drives it: the client that began it, or one that attached later."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runner.batch.adoption import (
    adopt_machines,
    note_attempts,
    restore_finished,
    set_aside_pushed,
)
from runner.batch.controller import Controller, TakenOverError
from runner.batch.downloads import Downloads
from runner.batch.end import BatchEnd
from runner.batch.fleet import Fleet, MachineWish
from runner.batch.home_markers import home_noter
from runner.batch.live_logs import LiveLogs
from runner.batch.messages import CameHome, DeadlinesMoved, LeaseGone, LeaseLost
from runner.batch.summary import RunReport, RunSummary
from runner.context import Context
from runner.errors import DiskError, LeftoverError
from runner.jobsfile import Definition, save_definition
from runner.journal import SessionState
from runner.lease import LeaseEvents, LeaseKeeper, LeaseTerms
from runner.model import names
from runner.model.events import Listener, Phases
from runner.model.roster import MachineState
from runner.results import Collector, DownloadTracker, HomeSet
from runner.stacks import StackSpec
from runner.teardown import Steps, Undo, cancel_all, raised_signals

LOGIN_SLACK_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class BatchRun:
    """One client's part in a batch. ``detach``: leave as soon as every VM has as much to do as it can take.

    ``report`` has the summary in the end, whatever is raised. ``take_over``, ``predecessors``: see ``LeaseTerms``.
    """

    context: Context
    definition: Definition
    listener: Listener
    phases: Phases
    session: SessionState
    report: RunReport = field(default_factory=RunReport)
    detach: bool = False
    take_over: bool = False
    predecessors: Collection[str] = ()

    @property
    def batch(self) -> str:
        """The batch's name."""
        return self.definition.plan.batch

    def begin(self) -> RunSummary:
        """Create the VMs, run the jobs, end the batch."""
        return self._to_its_end(attach=False)

    def go_on(self) -> RunSummary:
        """Take over what is there: VMs, jobs that run, results that wait."""
        return self._to_its_end(attach=True)

    def _to_its_end(self, *, attach: bool) -> RunSummary:
        end = self._make_end(goes_on=attach)
        outcome = "completed"
        try:
            with raised_signals(), end.lease, Steps(self.listener) as steps:
                destructive = self._register_end(steps, end)
                try:
                    self._drive(steps, end, destructive, attach=attach)
                except TakenOverError:
                    end.goes_on = True
                    cancel_all(destructive)
                    raise
        except LeftoverError:
            if not end.controller.roster.is_over:
                raise
        except BaseException as error:
            outcome = str(error) or type(error).__name__
            raise
        finally:
            if end.lease.lost_to:
                end.goes_on = True
                self.session.end(f"taken over by {end.lease.lost_to}")
            elif not end.goes_on:
                end.close_session(outcome)
            summary = self._summary(end)
            self.report.summary = summary
        return summary

    def _make_end(self, *, goes_on: bool) -> BatchEnd:
        """All that works together on one batch. ``goes_on``: it does already."""
        tracker = DownloadTracker(self.context.results_folder / self.batch)
        note_home = home_noter(self.context, self.definition)

        def on_home(home: HomeSet) -> None:
            note_home(home)
            controller.tell(CameHome(home=home))

        collector = Collector(self.context.cloud.results, self.batch, tracker, self.listener, on_home=on_home)
        controller = Controller(
            context=self.context,
            plan=self.definition.plan,
            inputs=self.definition.inputs,
            collector=collector,
            session=self.session,
            listener=self.listener,
        )
        return BatchEnd(
            context=self.context,
            definition=self.definition,
            session=self.session,
            listener=self.listener,
            phases=self.phases,
            lease=LeaseKeeper(self.context.cloud.results, self._terms(), _lease_events(controller)),
            tracker=tracker,
            collector=collector,
            controller=controller,
            goes_on=goes_on,
            is_informed=not goes_on,
        )

    def _summary(self, end: BatchEnd) -> RunSummary:
        return RunSummary(
            batch=self.batch,
            jobs=end.outcomes(),
            phases_s=self.phases.seconds,
            parts_s=self.phases.parts,
            left_over=end.left_over,
            results=self.context.results_folder / self.batch,
            is_detached=end.goes_on,
        )

    def _register_end(self, steps: Steps, end: BatchEnd) -> Sequence[Undo]:
        """The undos from which a batch that goes on must not suffer."""
        return (
            steps.undo("bring home what is still in the bucket", lambda: end.bring_home(steps.hurry)),
            steps.undo(f"end batch {self.batch}", lambda: end.end(steps.hurry)),
        )

    def _drive(self, steps: Steps, end: BatchEnd, destructive: Sequence[Undo], *, attach: bool) -> None:
        """Run the jobs. ``destructive`` is cancelled if the batch goes on without this client."""
        steps.undo("close the connections", end.controller.close)
        try:
            fleet = self._get_ready(steps, end, attach=attach)
        except BaseException as error:
            if attach and not isinstance(error, TakenOverError):  # it ran well without this client
                cancel_all(destructive)
                end.leave_as_found()
            raise
        end.is_informed = True
        downloads = Downloads(end.collector)
        steps.undo("stop downloads", downloads.stop)
        downloads.start()
        with self.phases.phase("jobs"):
            goes_on = end.controller.run(fleet, until_busy=self.detach)
        if goes_on:
            end.leave()
            cancel_all(destructive)

    def _get_ready(self, steps: Steps, end: BatchEnd, *, attach: bool) -> Fleet:
        """What has to be there, or to be known, before the first job is started."""
        self.session.intend("stack", self.batch, "analysis")
        if not attach:
            save_definition(self.context, self.definition)
        max_run_s = self.definition.plan.max_run_s
        fleet = Fleet(
            context=self.context,
            batch=self.batch,
            new_login=lambda: self.context.cloud.logins.import_key(lifetime_s=max_run_s + LOGIN_SLACK_S),
            max_run_s=max_run_s,
            spec_of=lambda wishes: analysis_spec(self.context, self.definition, wishes),
            session=self.session,
            tell=end.controller.tell,
            listener=self.listener,
            phases=self.phases,
            check=end.lease.check,
        )
        steps.undo("stop watching", fleet.close)
        fleet.start()
        if attach:
            with self.phases.phase("attach"):
                self._look_around(end, fleet)
        return fleet

    def _look_around(self, end: BatchEnd, fleet: Fleet) -> None:
        """What is home, in the bucket and on the VMs of a batch that this client did not begin."""
        self._find_finished(end)
        session = self.session.read()
        note_attempts(self.context, session, end.controller)
        adopt_machines(self.context, session, end.controller, fleet, end.collector)
        if end.controller.roster.has(
            MachineState.LOST
        ):  # nobody knows which jobs they had, nor what they have pushed since
            self._find_finished(end)

    def _find_finished(self, end: BatchEnd) -> None:
        """Bring home what is in the bucket, and set aside the jobs that have ended, as far as they have not been begun again."""
        has_room = True
        was_home = {home.key for home in end.tracker.home_sets()}
        try:
            end.collector.finish(is_over=False)
        except DiskError as error:
            has_room = False
            self.listener.tell("warning", message=f"going on; results wait in the bucket until there is room: {error}")
        live_logs = LiveLogs(self.context.results_folder / self.batch, self.listener)
        for home in end.tracker.home_sets():
            if home.key not in was_home:
                live_logs.tell_rest(home)
        restore_finished(self.context, self.definition, end.tracker, end.controller)
        if not has_room:
            set_aside_pushed(self.context, self.definition, end.controller)

    def _terms(self) -> LeaseTerms:
        deadlines = {item.job.name: item.job.timeout_s for item in self.definition.inputs}
        owner = self.session.read().owner
        return LeaseTerms(
            batch=self.batch,
            lease_s=self.context.settings.lease_s,
            holder=str(owner),
            holder_id="" if owner is None else owner.identity,
            take_over=self.take_over,
            predecessors=self.predecessors,
            deadlines=deadlines,
        )


def _lease_events(controller: Controller) -> LeaseEvents:
    return LeaseEvents(
        on_change=lambda lease: controller.tell(DeadlinesMoved(deadlines=lease.deadlines)),
        on_lost=lambda lease: controller.tell(LeaseLost(holder=lease.holder)),
        on_gone=lambda: controller.tell(LeaseGone()),
    )


def analysis_spec(context: Context, definition: Definition, wishes: Sequence[MachineWish]) -> StackSpec:
    """The settings of a batch's stack with these machines."""
    settings, plan = context.settings, definition.plan
    ours: Mapping[str, Any] = {
        "owner": definition.owner,
        "expires": max([names.expires_label(datetime.fromisoformat(definition.expires)), *(w.expires for w in wishes)]),
        "machines": json.dumps([wish.as_json() for wish in wishes]),
        "machine_type": plan.machine.name,
        "provisioning": plan.provisioning,
        "max_run_seconds": str(plan.max_run_s),
        "disk_gib": str(definition.disk_gib),
        "image": definition.image,
        "lease_s": str(settings.lease_s),
    }
    place = {"gcp:project": settings.project, "gcp:region": settings.region, "gcp:zone": plan.zone}
    return StackSpec(
        project="analysis",
        name=plan.batch,
        config=place | {f"{names.CONFIG_NAMESPACE}:{key}": value for key, value in ours.items()},
    )
