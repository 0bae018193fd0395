"""``invoke run``: a jobs file in, verified results out, nothing left running."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from runner.bake import ensure_image, serves
from runner.base import base_lock, begin_reading_base, ensure_base
from runner.batch import BatchRun, RunReport, RunSummary
from runner.context import Context
from runner.errors import DeclinedError, InputError, NotFoundError, QuotaError
from runner.google import Image
from runner.jobsfile import CheckedBatch, Definition, check_batch
from runner.journal import Journal, NameTakenError
from runner.model import names
from runner.model.events import BatchRenamed, PlanMade
from runner.model.plan import Plan, hourly_price, make_plan, next_name
from runner.model.quota import find_rooms
from runner.options.batches import Run
from runner.system.files import disk_errors_mapped, require_folder

_log = logging.getLogger(__name__)

RESULTS_ELSEWHERE = "--results names another folder"


def execute(context: Context, options: Run, *, report: RunReport | None = None) -> RunSummary:
    """Run a batch from its jobs file to the end of its VMs. ``report`` has the summary also if an error is raised.

    Raises:
        InputError: the jobs file is wrong; nothing was created.
        MissingToolError: this computer lacks something that is needed; nothing was created.
        DeclinedError: the user declined; nothing was created.
        DiskError: the folder for results cannot be written; nothing was created.
        HpcError: what failed, after everything that was created is gone (or named in the error's notes).
    """
    with context.phases.phase("preflight"):
        checked = check_batch(Path(options.jobs))
    with context.phases.phase("cloud"):
        context.cloud.open()
        base = begin_reading_base(context)
        plan = _plan(context, checked)
        context.cloud.warm_up()
        plan = _fit_quota(context, plan, checked)
    _agree(context, plan, checked)
    require_folder(context.results_folder, more=RESULTS_ELSEWHERE)
    with base_lock(context):
        with context.phases.phase("base"):
            ensure_base(context, base.result())
        with context.phases.phase("image"):
            image = ensure_image(context)
    plan, journal = _begin_journal(context, plan, wanted=checked.batch.name)
    definition = _define(context, plan, checked, image)
    with journal:
        _record_plan(context, definition, journal)
        run = BatchRun(
            context=context.with_journal(journal),
            definition=definition,
            report=report or RunReport(),
            detach=options.detach,
        )
        return run.begin()


def _plan(context: Context, checked: CheckedBatch) -> Plan:
    """Return the plan, under an unused name, with disks that hold the current image.

    Raises:
        MissingToolError: an image will have to be baked first, for which this computer lacks something.
    """
    name = next_name(checked.batch.name, _names_taken(context))
    image = context.cloud.compute.newest_image(names.IMAGE_FAMILY)
    if image is None or not serves(image):
        context.cloud.check_bake(context.settings.image_recipe)
    return make_plan(checked.batch, context.settings, name=name, least_disk_gib=image.disk_gib if image else 0)


def _names_taken(context: Context) -> set[str]:
    """Return the names that are used by journals, stacks, folders of results or objects in the bucket."""
    taken = {
        *context.journals.names(),
        *context.cloud.stacks.names("analysis"),
        *_names_downloaded(context.results_folder),
    }
    with contextlib.suppress(NotFoundError):  # the bucket is created with the base stack
        taken.update(context.cloud.results.batches())
    return taken


def _names_downloaded(folder: Path) -> set[str]:
    """Return the names in the folder for results, if it exists yet.

    Raises:
        DiskError: it cannot be read.
    """
    with disk_errors_mapped(folder / "file", more=RESULTS_ELSEWHERE):
        try:
            return {path.name for path in folder.iterdir()}
        except FileNotFoundError:
            return set()


def _begin_journal(context: Context, plan: Plan, *, wanted: str) -> tuple[Plan, Journal]:
    """Begin the batch's journal, and return the plan under its name: a command that began at the same time may have taken the first one."""
    settings, refused = context.settings, set[str]()
    while True:
        try:
            journal = context.reporting_journals.begin(
                plan.batch, "run", target=settings.target, project=settings.project
            )
        except NameTakenError:
            refused.add(plan.batch)
            name = next_name(wanted, _names_taken(context) | refused)
            context.listener.report(BatchRenamed(planned=plan.batch, batch=name))
            instances = tuple(names.instance_name(name, index) for index in range(len(plan.instances)))
            plan = replace(plan, batch=name, instances=instances)
        else:
            _log.info("the batch is %s", plan.batch, extra={"batch": plan.batch})
            return plan, journal


def _define(context: Context, plan: Plan, checked: CheckedBatch, image: Image) -> Definition:
    """Return the batch as every client of it will know it, with the time at which ``maxRunDuration`` ends its VMs."""
    expires = context.now() + timedelta(seconds=plan.max_run_s)
    return Definition(
        owner=context.settings.owner,
        plan=plan,
        inputs=checked.inputs,
        image=image.name,
        disk_gib=max(plan.disk_gib, image.disk_gib),
        expires=expires.isoformat(timespec="minutes"),
    )


def _record_plan(context: Context, definition: Definition, journal: Journal) -> None:
    """Record the facts from which the receipt computes the cost."""
    plan = definition.plan
    journal.record(
        "plan",
        machine_type=plan.machine.name,
        price_usd_per_hour=hourly_price(plan.machine, definition.disk_gib),
        max_run_s=plan.max_run_s,
        zones=context.settings.zones_to_try,
        ceiling_usd=plan.ceiling_usd,
        results=str(context.results_folder / plan.batch),
    )


def _fit_quota(context: Context, plan: Plan, checked: CheckedBatch) -> Plan:
    """Return the plan with no more VMs than the region's quotas allow; fewer VMs run for longer.

    Raises:
        QuotaError: they allow none.
        InputError: so few VMs may need more time than Google lets them run.
    """
    quotas = context.cloud.compute.read_quotas(context.settings.region)
    rooms = find_rooms(quotas, plan.machine, plan.provisioning, disk_gib=plan.disk_gib)
    if not rooms or rooms[0].vms >= len(plan.instances):
        return plan
    if rooms[0].vms == 0:
        remedy = "request more under IAM & Admin > Quotas, or choose a smaller machines.type or another region"
        raise QuotaError(f"{context.settings.region}: {rooms[0]}", remedy=remedy)
    message = (
        f"{context.settings.region}: {rooms[0]}; the batch gets {rooms[0].vms} instead of {len(plan.instances)} VMs"
    )
    context.warn(message)
    return make_plan(
        checked.batch, context.settings, name=plan.batch, most_vms=rooms[0].vms, least_disk_gib=plan.disk_gib
    )


def _agree(context: Context, plan: Plan, checked: CheckedBatch) -> None:
    """Show what will be created and what it may cost, check it against the budget, and ask."""
    ceiling_usd = 0.0 if context.is_local else plan.ceiling_usd
    context.listener.report(
        PlanMade(
            batch=plan.batch,
            target=context.settings.target,
            jobs=len(plan.jobs),
            instances=plan.instances,
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
    )
    limits = [limit for limit in (checked.batch.budget_usd, context.settings.budget_usd) if limit is not None]
    if limits and ceiling_usd > min(limits):
        problem = checked.batch.source.problem(
            ("budget_usd",),
            f"batch {plan.batch} may cost up to {ceiling_usd:.2f} USD, the budget is {min(limits):.2f} USD",
            "raise budget_usd, lower timeout_min or machines.max_vms, or choose a smaller machine type",
        )
        raise InputError([problem])
    if not context.listener.on_confirm(f"Create this and run {len(plan.jobs)} jobs?"):
        raise DeclinedError("nothing was created", remedy="confirm, or give --yes to skip the question")
