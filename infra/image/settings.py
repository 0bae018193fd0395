"""The settings of an image stack: one bake, whose name is the stack's name."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from infra.settings import Expiry, LabelValue, MachineTypeName, Provisioning, StackSettings
from runner.model import names


def _check_image_name(text: str) -> str:
    if text and not (names.RESOURCE_NAME.fullmatch(text) and text.startswith(f"{names.IMAGE_FAMILY}-")):
        raise ValueError(f"an image's name starts with {names.IMAGE_FAMILY}- and has at most 63 of a-z 0-9 -")
    return text


class ImageSettings(StackSettings):
    """One bake: a builder, then the image from its disk."""

    owner: LabelValue
    """Label ``owner`` of the builder, its disk and the image."""

    expires: Expiry
    """When the builder expires, as ``20261122-1530`` in UTC: a label, for the sweep."""

    base_image: str = "projects/cloud-hpc-image-public/global/images/family/hpc-rocky-linux-8"
    """What the bake starts from: the link of a family or of an image."""

    machine_type: MachineTypeName = "c2-standard-8"
    """Machine type of the builder; more cores compile faster."""

    provisioning: Provisioning = "spot"
    """``spot`` or ``standard``."""

    disk_gib: int = Field(default=40, ge=10, le=2000)
    """Size of the builder's disk, which is the least size of every disk created from the image."""

    max_run_seconds: int = Field(default=3 * 3600, ge=120, le=24 * 3600)
    """Google deletes the builder after this many seconds, even if no client is left."""

    external_ip: bool = True
    """Does the builder have an external address? As ``external_ips`` of the base stack."""

    image_from_disk: str = ""
    """Second phase: stop the builder and create the image from its disk. The value is the output ``disk_id`` of the first
    phase: if that builder was lost since, its successor, which nobody baked, does not become an image."""

    image_name: Annotated[str, AfterValidator(_check_image_name)] = ""
    """Name of the image, as ``opensees-hpc-20261122-101500``; needed in the second phase."""

    image_description: str = "OpenSees"
    """Description of the image."""

    image_labels: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")], LabelValue] = Field(
        default_factory=dict
    )
    """More labels of the image, as a JSON object: the versions of what is in it."""

    @model_validator(mode="after")
    def _check_together(self) -> ImageSettings:
        if self.image_from_disk and not self.image_name:
            raise ValueError("image_from_disk needs image_name")
        return self

    def labels(self, bake: str) -> dict[str, str]:
        """Labels of what is deleted when the bake is over."""
        return names.labels(owner=self.owner, expires=self.expires, bake=bake)

    def labels_of_image(self, bake: str) -> dict[str, str]:
        """Labels of the image, which does not expire."""
        return self.image_labels | names.labels(owner=self.owner, bake=bake)
