"""An image stack: one bake. Composes only.

First phase: the builder runs, so that it can be baked and validated. Second phase (``image_from_disk``): the builder is
stopped and the image created from its disk. A destroy then deletes the builder and its disk and leaves the image.
"""

from __future__ import annotations

import pulumi

from infra.components.baked_image import BakedImage, BakedImageArgs
from infra.components.ephemeral_instance import DISK_TYPE, EphemeralInstance, EphemeralInstanceArgs
from infra.image.settings import ImageSettings
from infra.provider import gcp
from infra.settings import check_stack_name, load_settings
from runner.model import names


def declare() -> None:
    """Declare the resources of the running stack.

    Raises:
        pulumi.RunError: a setting is wrong.
    """
    bake = check_stack_name()
    declare_bake(bake, load_settings(ImageSettings))


def declare_bake(bake: str, settings: ImageSettings) -> None:
    """Export ``builder`` (name, zone, address), ``disk_id`` and, in the second phase, ``image`` (link) and ``image_name``."""
    disk = _declare_disk(bake, settings)
    builder = EphemeralInstance(names.builder_name(bake), _builder_args(bake, settings, disk))
    pulumi.export(
        "builder",
        {"name": builder.instance.name, "zone": settings.location.zone, "address": builder.address},
    )
    pulumi.export("disk_id", disk.disk_id)
    if settings.image_from_disk:
        baked = BakedImage(
            "image", _image_args(bake, settings, disk), pulumi.ResourceOptions(depends_on=[builder.instance])
        )
        pulumi.export("image", baked.image.self_link)
        pulumi.export("image_name", baked.image.name)


def _declare_disk(bake: str, settings: ImageSettings) -> gcp.compute.Disk:
    """Declare a separate disk: one that the builder creates for itself could not be named as the source of an image."""
    name = names.builder_name(bake)
    return gcp.compute.Disk(
        name,
        name=name,
        project=settings.location.project,
        zone=settings.location.zone,
        image=settings.base_image,
        size=settings.disk_gib,
        type=DISK_TYPE,
        labels=settings.labels(bake),
        opts=pulumi.ResourceOptions(delete_before_replace=True),
    )


def _builder_args(bake: str, settings: ImageSettings, disk: gcp.compute.Disk) -> EphemeralInstanceArgs:
    return EphemeralInstanceArgs(
        location=settings.location,
        machine_type=settings.machine_type,
        provisioning=settings.provisioning,
        boot=disk.self_link,
        labels=settings.labels(bake),
        max_run_s=settings.max_run_seconds,
        external_ip=settings.external_ip,
        stopped=bool(settings.image_from_disk),
    )


def _image_args(bake: str, settings: ImageSettings, disk: gcp.compute.Disk) -> BakedImageArgs:
    def check_disk(known: list[str]) -> str:
        link, disk_id = known
        if disk_id != settings.image_from_disk:
            raise pulumi.RunError(f"the builder was lost after the bake (disk {settings.image_from_disk}); bake again")
        return link

    return BakedImageArgs(
        image_name=settings.image_name,
        project=settings.location.project,
        disk=pulumi.Output.all(disk.self_link, disk.disk_id).apply(check_disk),
        description=settings.image_description,
        labels=settings.labels_of_image(bake),
    )
