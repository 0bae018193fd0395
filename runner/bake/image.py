"""One bake from its builder to the image of the family ``opensees-hpc``, and the image that a batch gets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from runner.bake.scripts import bake_on
from runner.base import ensure_base
from runner.context import Context, JournalContext
from runner.errors import BuildError, DeclinedError, HpcError
from runner.google import Image
from runner.model import catalog, names
from runner.model.events import BakePlanned
from runner.model.plan import hourly_price
from runner.model.stockout import Placement
from runner.stacks import StackSpec, report_stack_progress
from runner.teardown import Steps, closed_journal, end_bake, raised_signals
from runner.vms import PlacementFinder, Vm, VMGuard, wait_for_host_keys

if TYPE_CHECKING:
    from runner.ssh import Connection

_log = logging.getLogger(__name__)

LONGEST_BAKE_S = {"wheels": 60 * 60, "full": 3 * 3600}
LABEL_KEY = re.compile(r"[^a-z0-9_-]")


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """The image that was created. ``versions``: what is in it, as validated inside it."""

    image: str
    versions: Mapping[str, str]
    phases_s: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """JSON values of the event ``summary``."""
        return {"image": self.image, "versions": dict(self.versions), "phases_s": dict(self.phases_s), "exit_code": 0}


def bake(context: Context, *, recipe: str) -> BuildSummary:
    """Run the pipeline: builder, bake, clean up, validate, stop, image from disk, builder gone."""
    with context.phases.phase("base"):
        ensure_base(context)
    begun, settings = context.now(), context.settings
    with context.reporting_journals.begin(
        names.bake_name(begun), "bake", target=settings.target, project=settings.project
    ) as journal:
        run = _Bake(context=context.with_journal(journal), recipe=recipe, begun=begun)
        with (
            closed_journal(run.context),
            raised_signals(),
            VMGuard(run.context) as guard,
            Steps(context.listener) as steps,
        ):
            _log.info("the bake is %s", run.name, extra={"batch": run.name})
            run.announce()
            versions = run.create_image(steps, guard)
    with context.phases.phase("deprecate"):
        run.deprecate_older()
    return BuildSummary(image=run.image_name, versions=versions, phases_s=context.phases.seconds)


def ensure_image(context: Context) -> Image:
    """Return the newest usable image of the family, baked if there is none, or only one that lacks what this version needs.

    Raises:
        DeclinedError: there is none, and the user declined to bake one.
        BuildError: it could not be baked.
    """
    image = context.cloud.compute.newest_image(names.IMAGE_FAMILY)
    if image is not None and serves(image):
        return image
    if image is not None:
        why = f"the image {image.name} was baked by an older version and lacks what this one needs; baking a new one"
        context.warn(why)
    recipe = context.settings.image_recipe
    if not context.is_local:
        ask_for_bake(context, recipe)
    bake(context.with_new_phases(), recipe=recipe)
    image = context.cloud.compute.newest_image(names.IMAGE_FAMILY)
    if image is None or not serves(image):
        raise BuildError("the image was created, but the cloud does not list it as ready")
    return image


def serves(image: Image) -> bool:
    """Return whether the image has what this version needs."""
    return image.format >= names.IMAGE_FORMAT


def ask_for_bake(context: Context, recipe: str) -> None:
    """Show what a bake may cost, and ask."""
    settings = context.settings
    machine = catalog.MACHINE_TYPES[settings.builder_machine_type]
    hours = LONGEST_BAKE_S[recipe] / 3600
    ceiling_usd = 0.0 if context.is_local else hours * hourly_price(machine, settings.disk_gib)
    context.listener.report(
        BakePlanned(recipe=recipe, machine_type=machine.name, ceiling_usd=round(ceiling_usd, 2), hours=hours)
    )
    if not context.listener.on_confirm(f"Bake an image with the recipe {recipe}?"):
        raise DeclinedError("no image was baked", remedy="confirm, or give --yes to skip the question")


@dataclass(frozen=True, kw_only=True)
class _Bake:
    """One bake. Its stack's name is also the value of its label."""

    context: JournalContext
    recipe: str
    begun: datetime

    @property
    def name(self) -> str:
        return names.bake_name(self.begun)

    @property
    def image_name(self) -> str:
        return names.image_name(self.begun)

    def announce(self) -> None:
        """Record in the journal what will be created."""
        journal, settings = self.context.journal, self.context.settings
        machine = catalog.MACHINE_TYPES[settings.builder_machine_type]
        journal.record(
            "plan",
            machine_type=machine.name,
            price_usd_per_hour=hourly_price(machine, settings.disk_gib),
            max_run_s=LONGEST_BAKE_S[self.recipe],
            zones=settings.zones_to_try[:1],
        )
        journal.intend("stack", self.name, "image")

    def create_image(self, steps: Steps, guard: VMGuard) -> Mapping[str, str]:
        """Create the image from a validated builder; return the versions of what is in it."""
        steps.undo(
            f"end bake {self.name}",
            lambda: end_bake(self.context, self.name, hurry=steps.hurry),
        )
        with self.context.phases.phase("up"):
            placement, outputs = self._create_builder(guard)
        connections = ExitStack()
        steps.undo("close the connection", connections.close)
        with self.context.phases.phase("boot"):
            connection = connections.enter_context(self._connect(placement))
        versions = bake_on(self.context, connection, self.recipe)
        with self.context.phases.phase("image"):
            labels = {LABEL_KEY.sub("_", key.lower()): names.label_value(value) for key, value in versions.items()}
            own = {"recipe": self.recipe, names.IMAGE_FORMAT_LABEL: str(names.IMAGE_FORMAT)}
            second = {
                "image_from_disk": str(outputs["disk_id"]),
                "image_name": self.image_name,
                "image_description": f"OpenSees, recipe {self.recipe}",
                "image_labels": json.dumps(labels | own),
            }
            self.context.journal.intend("image", self.image_name, keep=True)
            self._up(second, placement)
            self.context.journal.record("created", kind="image", name=self.image_name)
        return versions

    def deprecate_older(self) -> None:
        """Deprecate the older images: the family then stands for the new one."""
        compute = self.context.cloud.compute
        for image in compute.images(names.IMAGE_FAMILY):
            if image.name != self.image_name and not image.deprecated:
                compute.deprecate_image(image.name, replacement=self.image_name)

    def _create_builder(self, guard: VMGuard) -> tuple[Placement, Mapping[str, object]]:
        """Create a builder in the first zone that has one, and return where it is and the stack's outputs."""
        builder = names.builder_name(self.name)
        settings = self.context.settings
        finder = PlacementFinder(self.context)
        placement = Placement(zone=settings.zones_to_try[0], machine_type=settings.builder_machine_type)
        while True:
            guard.add(Vm(name=builder, zone=placement.zone, facts={"machine_type": placement.machine_type}))
            self.context.journal.intend("disk", builder, placement.zone)
            try:
                outputs = self._up({}, placement)
            except HpcError as error:
                other = finder.after(placement, error, vms=[builder], is_wanted=lambda: True)
                if other is None:
                    raise
                placement = other
                continue
            guard.created(builder)
            return placement, outputs

    def _up(self, more: Mapping[str, str], placement: Placement) -> Mapping[str, object]:
        settings = self.context.settings
        longest_s = LONGEST_BAKE_S[self.recipe]
        ours: dict[str, str] = {
            "owner": settings.owner,
            "expires": (self.begun + timedelta(seconds=longest_s)).isoformat(timespec="minutes"),
            "machine_type": placement.machine_type,
            "disk_gib": str(settings.disk_gib),
            "max_run_seconds": str(longest_s),
            **more,
        }
        where = {"gcp:project": settings.project, "gcp:region": settings.region, "gcp:zone": placement.zone}
        config = where | {f"{names.CONFIG_NAMESPACE}:{key}": value for key, value in ours.items()}
        spec = StackSpec(project="image", name=self.name, config=config)
        return self.context.cloud.stacks.up(spec, report_stack_progress(self.context.listener, self.name))

    def _connect(self, placement: Placement) -> Connection:
        cloud = self.context.cloud
        login = cloud.logins.import_key()
        builder = cloud.compute.instance(placement.zone, names.builder_name(self.name))
        if builder is None:
            raise BuildError(f"the builder {names.builder_name(self.name)} is gone")
        return cloud.connect(builder, login, wait_for_host_keys(self.context, builder, lambda: True))
