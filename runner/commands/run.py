"""``invoke run``: a jobs file in, verified results out, nothing left running."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from runner.commands.base import ensure_base
from runner.commands.build import ensure_image
from runner.commands.collect import collect_rest
from runner.commands.context import Context
from runner.commands.controller import Controller
from runner.commands.end import end_batch
from runner.commands.events import Listener, Phases
from runner.commands.fleet import Fleet, MachineWish
from runner.commands.preflight import CheckedBatch, check_batch
from runner.commands.steps import Steps, raised_signals
from runner.commands.summary import JobOutcome, RunSummary
from runner.core.compute import Image
from runner.core.stacks import StackSpec
from runner.errors import DeclinedError, InputError, LeftoverError, NotFoundError
from runner.model import names
from runner.model.plan import Plan, make_plan, next_name

LOGIN_SLACK_S = 3600.0


def execute(context: Context, *, jobs_file: Path, yes: bool, listener: Listener) -> RunSummary:
    """Run a batch from its jobs file to the end of its VMs.

    Raises:
        InputError: the jobs file is wrong; nothing was created.
        DeclinedError: not agreed to; nothing was created.
        HpcError: what failed, after everything that was created is gone (or named in the error's notes).
    """
    phases = Phases(listener)
    with phases.phase("preflight"):
        checked = check_batch(jobs_file)
    with phases.phase("cloud"):
        context.cloud.open()
        plan = _plan(context, checked)
    _agree(context, plan, checked, yes=yes, listener=listener)
    with phases.phase("base"):
        ensure_base(context, listener)
    with phases.phase("image"):
        image = ensure_image(context, listener)
    run = _Run(context=context, plan=plan, checked=checked, image=image, listener=listener, phases=phases)
    return run.to_its_end()


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A batch that was agreed to, on a cloud where base and image are there."""

    context: Context
    plan: Plan
    checked: CheckedBatch
    image: Image
    listener: Listener
    phases: Phases

    def to_its_end(self) -> RunSummary:
        """Create the VMs, run the jobs, end the batch."""
        outcomes: list[JobOutcome] | None = None
        left_over: tuple[str, ...] = ()
        try:
            with raised_signals(), Steps(self.listener) as steps:
                outcomes = self._on_vms(steps)
        except LeftoverError as error:
            if outcomes is None:
                raise
            left_over = error.items
        order = {job.name: index for index, job in enumerate(self.plan.jobs)}
        return RunSummary(
            batch=self.plan.batch,
            jobs=tuple(sorted(outcomes or [], key=lambda outcome: order[outcome.name])),
            phases_s=self.phases.seconds,
            left_over=left_over,
            results=self.context.results_folder / self.plan.batch,
        )

    def _on_vms(self, steps: Steps) -> list[JobOutcome]:
        cloud, batch = self.context.cloud, self.plan.batch
        login = cloud.logins.import_key(lifetime_s=self.plan.max_run_s + LOGIN_SLACK_S)
        steps.undo("bring home what is still in the bucket", lambda: collect_rest(self.context, batch, self.listener))
        steps.undo(f"end batch {batch}", lambda: end_batch(self.context, batch, self.listener, self.phases))
        controller = Controller(
            context=self.context, plan=self.plan, inputs=self.checked.inputs, listener=self.listener
        )
        steps.undo("close the connections", controller.close)
        fleet = Fleet(
            context=self.context,
            batch=batch,
            login=login,
            spec_of=lambda wishes: analysis_spec(self.context, self.plan, self.image, wishes),
            tell=controller.tell,
            listener=self.listener,
            phases=self.phases,
        )
        steps.undo("stop watching", fleet.close)
        with self.phases.phase("jobs"):
            return controller.run(fleet)


def analysis_spec(context: Context, plan: Plan, image: Image, wishes: Sequence[MachineWish]) -> StackSpec:
    """The settings of a batch's stack with these machines."""
    settings = context.settings
    expires = context.now() + timedelta(seconds=plan.max_run_s)
    ours: Mapping[str, Any] = {
        "owner": settings.owner,
        "expires": expires.isoformat(timespec="minutes"),
        "machines": json.dumps([wish.as_json() for wish in wishes]),
        "machine_type": plan.machine.name,
        "provisioning": plan.provisioning,
        "max_run_seconds": str(plan.max_run_s),
        "disk_gib": str(max(plan.disk_gib, image.disk_gib)),
        "image": image.name,
    }
    place = {"gcp:project": settings.project, "gcp:region": settings.region, "gcp:zone": plan.zone}
    return StackSpec(
        project="analysis",
        name=plan.batch,
        config=place | {f"{names.CONFIG_NAMESPACE}:{key}": value for key, value in ours.items()},
    )


def _plan(context: Context, checked: CheckedBatch) -> Plan:
    """The plan, under a name that no stack, no folder of results and nothing in the bucket has."""
    taken = {*context.cloud.stacks.names("analysis"), *(path.name for path in context.results_folder.glob("*"))}
    with contextlib.suppress(NotFoundError):  # the bucket is made with the base stack
        taken.update(context.cloud.results.batches())
    return make_plan(checked.batch, context.settings, name=next_name(checked.batch.name, taken))


def _agree(context: Context, plan: Plan, checked: CheckedBatch, *, yes: bool, listener: Listener) -> None:
    """Show what will be created and what it may cost, hold it to the budget, and ask."""
    ceiling_usd = 0.0 if context.is_local else plan.ceiling_usd
    listener.tell(
        "plan",
        batch=plan.batch,
        target=context.settings.target,
        jobs=len(plan.jobs),
        instances=list(plan.instances),
        machine_type=plan.machine.name,
        cores=plan.machine.cores,
        provisioning=plan.provisioning,
        zone=plan.zone,
        max_run_s=plan.max_run_s,
        upload_bytes=sum(inputs.size_bytes for inputs in checked.inputs),
        price_usd_per_hour=0.0 if context.is_local else round(plan.price_usd_per_hour, 4),
        ceiling_usd=round(ceiling_usd, 4),
        results=str(context.results_folder / plan.batch),
    )
    limits = [limit for limit in (checked.batch.budget_usd, context.settings.budget_usd) if limit is not None]
    if limits and ceiling_usd > min(limits):
        problem = checked.batch.source.problem(
            ("budget_usd",),
            f"batch {plan.batch} may cost up to {ceiling_usd:.2f} USD, the budget is {min(limits):.2f} USD",
            "raise budget_usd, lower timeout_min or machines.max_vms, or choose a smaller machine type",
        )
        raise InputError([problem])
    if not yes and not listener.on_confirm(f"Create this and run {len(plan.jobs)} jobs?"):
        raise DeclinedError("nothing was created", remedy="agree, or give --yes where nobody can be asked")
