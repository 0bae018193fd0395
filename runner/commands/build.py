"""``invoke build``: bake, clean up, validate, and only then create an image of the family ``opensees-hpc``."""

from __future__ import annotations

import io
import json
import logging
import re
import stat
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.base import base_lock, ensure_base
from runner.context import Context, SessionContext
from runner.errors import BuildError, DeclinedError, HpcError, RemoteCommandError
from runner.google import Image
from runner.model import catalog, names
from runner.model.foreign import decode_json
from runner.model.plan import hourly_price
from runner.model.stockout import Place
from runner.stacks import StackSpec, tell_stack_progress
from runner.teardown import Steps, closed_session, end_bake, raised_signals
from runner.vms import PlaceFinder, Vm, VMGuard, wait_for_host_keys

if TYPE_CHECKING:
    from runner.ssh import Connection

_log = logging.getLogger(__name__)

RECIPES = {"wheels": "build_opensees_wheels.sh", "full": "build_opensees_full.sh"}
LONGEST_BAKE_S = {"wheels": 60 * 60, "full": 3 * 3600}
REMOTE_FOLDER = f"{names.APP}-packer"
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


def execute(context: Context, *, recipe: str) -> BuildSummary:
    """Bake a new image; the old ones of the family are deprecated, not deleted.

    Raises:
        MissingToolError: this computer lacks what the bake needs; nothing was created.
        DeclinedError: the user declined; nothing was created.
        BuildError: a script failed or the image did not validate; the builder is gone.
        LeftoverError: the builder could not be removed.
    """
    context.cloud.open()
    context.cloud.check_bake(recipe)
    _agree(context, recipe)
    with base_lock(context):
        return bake(context, recipe=recipe)


def bake(context: Context, *, recipe: str) -> BuildSummary:
    """Run the pipeline: builder, bake, clean up, validate, stop, image from disk, builder gone."""
    with context.phases.phase("base"):
        ensure_base(context)
    begun, settings = context.now(), context.settings
    with context.reporting_journal.begin(
        names.bake_name(begun), "bake", target=settings.target, project=settings.project
    ) as session:
        run = _Bake(context=context.in_session(session), recipe=recipe, begun=begun)
        with (
            closed_session(run.context),
            raised_signals(),
            VMGuard(run.context) as guard,
            Steps(context.listener) as steps,
        ):
            _log.info("the bake is %s", run.name, extra={"session": run.name})
            run.announce()
            versions = run.create_image(steps, guard)
    with context.phases.phase("deprecate"):
        run.deprecate_older()
    return BuildSummary(image=run.image_name, versions=versions, phases_s=context.phases.seconds)


def ensure_image(context: Context) -> Image:
    """Return the newest usable image of the family, baked if there is none, or only one that lacks what this version counts on.

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
        _agree(context, recipe)
    bake(context.with_new_phases(), recipe=recipe)
    image = context.cloud.compute.newest_image(names.IMAGE_FAMILY)
    if image is None or not serves(image):
        raise BuildError("the image was created, but the cloud does not list it as ready")
    return image


def serves(image: Image) -> bool:
    """Return whether the image has what this version counts on."""
    return image.format >= names.IMAGE_FORMAT


def _agree(context: Context, recipe: str) -> None:
    """Show what a bake may cost, and ask."""
    settings = context.settings
    machine = catalog.MACHINE_TYPES[settings.builder_machine_type]
    hours = LONGEST_BAKE_S[recipe] / 3600
    ceiling_usd = 0.0 if context.is_local else hours * hourly_price(machine, settings.disk_gib)
    context.listener.tell(
        "bake", recipe=recipe, machine_type=machine.name, ceiling_usd=round(ceiling_usd, 2), hours=hours
    )
    if not context.listener.on_confirm(f"Bake an image with the recipe {recipe}?"):
        raise DeclinedError("no image was baked", remedy="confirm, or give --yes where nobody can be asked")


@dataclass(frozen=True, kw_only=True)
class _Bake:
    """One bake. Its stack's name is also the value of its label."""

    context: SessionContext
    recipe: str
    begun: datetime

    @property
    def name(self) -> str:
        return names.bake_name(self.begun)

    @property
    def image_name(self) -> str:
        return names.image_name(self.begun)

    def announce(self) -> None:
        """Journal what will be created, before it is."""
        session, settings = self.context.session, self.context.settings
        machine = catalog.MACHINE_TYPES[settings.builder_machine_type]
        session.record(
            "plan",
            machine_type=machine.name,
            price_usd_per_hour=hourly_price(machine, settings.disk_gib),
            max_run_s=LONGEST_BAKE_S[self.recipe],
            zones=settings.zones_to_try[:1],
        )
        session.intend("stack", self.name, "image")

    def create_image(self, steps: Steps, guard: VMGuard) -> Mapping[str, str]:
        """Create the image from a validated builder; return the versions of what is in it."""
        steps.undo(
            f"end bake {self.name}",
            lambda: end_bake(self.context, self.name, hurry=steps.hurry),
        )
        with self.context.phases.phase("up"):
            place, outputs = self._create_builder(guard)
        connections = ExitStack()
        steps.undo("close the connection", connections.close)
        with self.context.phases.phase("boot"):
            connection = connections.enter_context(self._connect(place))
        versions = self._bake_on(connection)
        with self.context.phases.phase("image"):
            labels = {LABEL_KEY.sub("_", key.lower()): names.label_value(value) for key, value in versions.items()}
            own = {"recipe": self.recipe, names.IMAGE_FORMAT_LABEL: str(names.IMAGE_FORMAT)}
            second = {
                "image_from_disk": str(outputs["disk_id"]),
                "image_name": self.image_name,
                "image_description": f"OpenSees, recipe {self.recipe}",
                "image_labels": json.dumps(labels | own),
            }
            self.context.session.intend("image", self.image_name, keep=True)
            self._up(second, place)
            self.context.session.record("created", kind="image", name=self.image_name)
        return versions

    def deprecate_older(self) -> None:
        """Leave the new image as the only one that the family stands for."""
        compute = self.context.cloud.compute
        for image in compute.images(names.IMAGE_FAMILY):
            if image.name != self.image_name and not image.deprecated:
                compute.deprecate_image(image.name, replacement=self.image_name)

    def _create_builder(self, guard: VMGuard) -> tuple[Place, Mapping[str, object]]:
        """Create a builder in the first zone that has one, and return where it is and the stack's outputs."""
        builder = names.builder_name(self.name)
        settings = self.context.settings
        finder = PlaceFinder(self.context)
        place = Place(zone=settings.zones_to_try[0], machine_type=settings.builder_machine_type)
        while True:
            guard.add(Vm(name=builder, zone=place.zone, facts={"machine_type": place.machine_type}))
            self.context.session.intend("disk", builder, place.zone)
            try:
                outputs = self._up({}, place)
            except HpcError as error:
                other = finder.after(place, error, vms=[builder], is_wanted=lambda: True)
                if other is None:
                    raise
                place = other
                continue
            guard.created(builder)
            return place, outputs

    def _up(self, more: Mapping[str, str], place: Place) -> Mapping[str, object]:
        settings = self.context.settings
        longest_s = LONGEST_BAKE_S[self.recipe]
        ours: dict[str, str] = {
            "owner": settings.owner,
            "expires": (self.begun + timedelta(seconds=longest_s)).isoformat(timespec="minutes"),
            "machine_type": place.machine_type,
            "disk_gib": str(settings.disk_gib),
            "max_run_seconds": str(longest_s),
            **more,
        }
        where = {"gcp:project": settings.project, "gcp:region": settings.region, "gcp:zone": place.zone}
        config = where | {f"{names.CONFIG_NAMESPACE}:{key}": value for key, value in ours.items()}
        spec = StackSpec(project="image", name=self.name, config=config)
        return self.context.cloud.stacks.up(spec, tell_stack_progress(self.context.listener, self.name))

    def _connect(self, place: Place) -> Connection:
        cloud = self.context.cloud
        login = cloud.logins.import_key()
        builder = cloud.compute.instance(place.zone, names.builder_name(self.name))
        if builder is None:
            raise BuildError(f"the builder {names.builder_name(self.name)} is gone")
        return cloud.connect(builder, login, wait_for_host_keys(self.context, builder, lambda: True))

    def _bake_on(self, connection: Connection) -> Mapping[str, str]:
        """Upload, build, clean up, validate; return the versions of what was built."""
        with self.context.phases.phase("upload"):
            unpack = 'rm -rf -- "$1" && mkdir -- "$1" && tar -xzf - -C "$1"'
            result = connection.run_script(unpack, REMOTE_FOLDER, stdin=archive_folder(self.context.root / "packer"))
            if result.exit_code != 0:
                raise BuildError(f"upload to the builder failed: {result.error_text}")
        with self.context.phases.phase("build"):
            cores = connection.run(["nproc"], check=True).text.strip()
            self._script(connection, RECIPES[self.recipe], cores)
        with self.context.phases.phase("cleanup"):
            self._script(connection, "cleanup.sh")
        with self.context.phases.phase("validate"):
            lines = self._script(connection, "validate.sh")
        try:
            return {str(key): str(value) for key, value in decode_json(lines[-1].encode()).items()}
        except (ValueError, IndexError, AttributeError) as error:
            raise BuildError("validate.sh ended without the versions of what is in the image") from error

    def _script(self, connection: Connection, script: str, *arguments: str) -> list[str]:
        """Run a script of packer/bake as root, its output streamed; return the lines of its standard output.

        Raises:
            BuildError: its exit code was not 0.
        """
        out, err = _Lines(self._log_line(script)), _Lines(self._log_line(script))
        words = ["sudo", "bash", f"bake/{script}", *arguments]
        result = connection.run(
            words, folder=REMOTE_FOLDER, on_output=lambda s, data: (out if s == 1 else err).feed(data)
        )
        out.end()
        err.end()
        if result.exit_code != 0:
            failed = connection.command_error(" ".join(words), result)
            raise _build_error(failed, [*out.lines, *err.lines])
        return out.lines

    def _log_line(self, script: str) -> Callable[[str], None]:
        return lambda line: self.context.listener.log(script.removesuffix(".sh"), line)


class _Lines:
    """Bytes to lines, reported as they come."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = b""
        self.lines: list[str] = []

    def feed(self, data: bytes) -> None:
        """Take more output."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._keep(line)

    def end(self) -> None:
        """Take note that no more output comes."""
        if self._rest:
            self._keep(self._rest)
        self._rest = b""

    def _keep(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.lines.append(text)
        self._tell(text)


def _build_error(failed: RemoteCommandError, lines: Sequence[str]) -> BuildError:
    end = "\n".join(f"    {line}" for line in lines[-20:])
    return BuildError(
        f"{failed.message}\n{end}", remedy="the lines above say why; the builder is gone, nothing was published"
    )


def archive_folder(folder: Path) -> bytes:
    """Return a folder as a compressed tar, without what Python or editors leave there; owners are left out.

    Everybody may read it, whatever the umask of whoever cloned the repository: jobs do not run as root.

    Raises:
        BuildError: it cannot be read.
    """

    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in member.name:
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() or member.mode & stat.S_IXUSR else 0o644
        return member

    buffer = io.BytesIO()
    try:
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
            tar.add(folder, arcname=".", filter=keep)
    except OSError as error:
        message = f"what bakes the image cannot be read: {error.filename or folder}: {error.strerror}"
        raise BuildError(message, remedy="clone the repository again, or make it readable") from error
    return buffer.getvalue()
