"""A batch from its definition to its end, whoever drives it: the client that began it, or one that attached later."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.commands.adoption import adopt_machines, note_attempts, restore_finished, tell_rest_of_logs
from runner.commands.collect import Collector
from runner.commands.context import Context
from runner.commands.controller import Controller, TakenOverError
from runner.commands.definition import Definition, save_definition
from runner.commands.end import end_batch
from runner.commands.events import Listener, Phases
from runner.commands.fleet import Fleet, MachineWish
from runner.commands.home_markers import home_noter
from runner.commands.messages import DeadlinesMoved, LeaseGone, LeaseLost
from runner.commands.receipt import close_session
from runner.commands.steps import Steps, deferred_signals, raised_signals
from runner.commands.summary import RunSummary
from runner.core.download_tracker import DownloadTracker
from runner.core.lease import LeaseEvents, LeaseKeeper, LeaseTerms
from runner.core.session_state import SessionState
from runner.core.stacks import StackSpec
from runner.errors import HpcError, LeftoverError
from runner.model import names

LOGIN_SLACK_S = 3600.0
DOWNLOADS_END_LIMIT_S = 60.0
DESTRUCTIVE = ("end batch", "bring home")  # undos that another client must not suffer from


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What works together on one batch."""

    tracker: DownloadTracker
    collector: Collector
    controller: Controller
    lease: LeaseKeeper


@dataclass(frozen=True, kw_only=True)
class BatchRun:
    """One client's part in a batch. ``detach``: leave as soon as every VM has as much to do as it can take."""

    context: Context
    definition: Definition
    listener: Listener
    phases: Phases
    session: SessionState
    detach: bool = False
    take_over: bool = False

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
        tracker = DownloadTracker(self.context.results_folder / self.batch)
        note_home = home_noter(self.context, self.definition)
        collector = Collector(self.context, self.batch, tracker, self.listener, on_home=note_home)
        controller = Controller(
            context=self.context,
            plan=self.definition.plan,
            inputs=self.definition.inputs,
            collector=collector,
            session=self.session,
            listener=self.listener,
        )
        lease = LeaseKeeper(self.context.cloud.results, self._terms(), _lease_events(controller))
        parts = _Parts(tracker=tracker, collector=collector, controller=controller, lease=lease)
        left_over: tuple[str, ...] = ()
        goes_on = False
        outcome = "completed"
        try:
            with raised_signals(), lease, Steps(self.listener) as steps:
                try:
                    goes_on = self._drive(steps, parts, attach=attach)
                except TakenOverError:
                    goes_on = True
                    steps.keep(*DESTRUCTIVE)
                    raise
        except LeftoverError as error:
            if not controller.roster.is_over:
                raise
            left_over = error.items
        except BaseException as error:
            outcome = str(error) or type(error).__name__
            raise
        finally:
            if not goes_on:
                self._close_session(outcome)
        return RunSummary(
            batch=self.batch,
            jobs=tuple(controller.outcomes()),
            phases_s=self.phases.seconds,
            left_over=left_over,
            results=self.context.results_folder / self.batch,
            is_detached=goes_on,
        )

    def _close_session(self, outcome: str) -> None:
        """The receipt, and the journal's end if the cloud says that nothing is left. Trouble with that hides no other error."""
        try:
            with deferred_signals(self.listener, threading.Event()), self.phases.phase("receipt"):
                close_session(self.context, self.session, outcome)
        except HpcError as error:
            self.listener.tell("warning", message=str(error))

    def _drive(self, steps: Steps, parts: _Parts, *, attach: bool) -> bool:
        """Run the jobs; whether the batch goes on without us."""
        cloud, plan = self.context.cloud, self.definition.plan
        steps.undo("bring home what is still in the bucket", lambda: self._collect_rest(parts.collector, steps.hurry))
        steps.undo(
            f"end batch {self.batch}",
            lambda: end_batch(self.context, self.batch, self.listener, self.phases, hurry=steps.hurry),
        )
        steps.undo("close the connections", parts.controller.close)
        self.session.intend("stack", self.batch, "analysis")
        if not attach:
            save_definition(self.context, self.definition)
        fleet = Fleet(
            context=self.context,
            batch=self.batch,
            new_login=lambda: cloud.logins.import_key(lifetime_s=plan.max_run_s + LOGIN_SLACK_S),
            max_run_s=plan.max_run_s,
            spec_of=lambda wishes: analysis_spec(self.context, self.definition, wishes),
            session=self.session,
            tell=parts.controller.tell,
            listener=self.listener,
            phases=self.phases,
        )
        steps.undo("stop watching", fleet.close)
        if attach:
            with self.phases.phase("attach"):
                was_home = {home.key for home in parts.tracker.home_sets()}
                parts.collector.finish(is_over=False)
                arrived = [home for home in parts.tracker.home_sets() if home.key not in was_home]
                tell_rest_of_logs(self.context.results_folder / self.batch, arrived, self.listener)
                restore_finished(self.context, self.definition, parts.tracker, parts.controller)
                note_attempts(self.context, self.session.read(), parts.controller)
                known = [resource.name for resource in self.session.read().resources]
                adopt_machines(self.context, self.batch, parts.controller, fleet, known=known)
        steps.undo("stop downloads", _start_polling(parts.collector))
        with self.phases.phase("jobs"):
            goes_on = parts.controller.run(fleet, until_busy=self.detach)
        if goes_on:
            self._leave(steps, parts.lease)
        return goes_on

    def _terms(self) -> LeaseTerms:
        deadlines = {item.job.name: item.job.timeout_s for item in self.definition.inputs}
        return LeaseTerms(
            batch=self.batch,
            lease_s=self.context.settings.lease_s,
            holder=str(self.session.read().owner),
            take_over=self.take_over,
            deadlines=deadlines,
        )

    def _collect_rest(self, collector: Collector, hurry: threading.Event) -> None:
        """What was pushed and nobody waited for any more; then nothing of the batch is left in the bucket."""
        if hurry.is_set():
            remedy = f"`invoke results --batch {self.batch}` brings home what is there"
            self.listener.tell("warning", message=f"results may still be in the bucket: {remedy}")
            return
        collected = collector.finish(is_over=True)
        for prefix, problem in collected.corrupt.items():
            self.listener.tell("warning", message=f"{prefix} stays in the bucket: {problem}")
        self.context.cloud.results.delete_control(self.batch)

    def _leave(self, steps: Steps, lease: LeaseKeeper) -> None:
        """Go away and let the batch go on: jobs run to their deadlines, then the VMs end themselves."""
        lease.detach()
        self.session.record("detached")
        steps.keep(*DESTRUCTIVE)
        self.listener.tell("detached", batch=self.batch)


def _lease_events(controller: Controller) -> LeaseEvents:
    return LeaseEvents(
        on_change=lambda lease: controller.tell(DeadlinesMoved(deadlines=lease.deadlines)),
        on_lost=lambda lease: controller.tell(LeaseLost(holder=lease.holder)),
        on_gone=lambda: controller.tell(LeaseGone()),
    )


def _start_polling(collector: Collector) -> Callable[[], None]:
    """Poll and download beside the jobs; what ends that."""
    stop = threading.Event()
    poller = threading.Thread(target=collector.run, args=(stop,), daemon=True, name="poll and download")
    poller.start()

    def end() -> None:
        stop.set()
        poller.join(DOWNLOADS_END_LIMIT_S)  # what does not come to its end is fetched again when the VMs are gone

    return end


def analysis_spec(context: Context, definition: Definition, wishes: Sequence[MachineWish]) -> StackSpec:
    """The settings of a batch's stack with these machines."""
    settings, plan = context.settings, definition.plan
    ours: Mapping[str, Any] = {
        "owner": settings.owner,
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
