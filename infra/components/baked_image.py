"""The image that a bake leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from infra.provider import gcp
from runner.model import names


@dataclass(frozen=True, kw_only=True)
class BakedImageArgs:
    """``disk``: link of a disk that no running VM uses."""

    image_name: str
    project: str
    disk: pulumi.Input[str]
    description: str
    labels: Mapping[str, str]


class BakedImage(pulumi.ComponentResource):
    """An image of the family. A destroy of its stack deletes the builder and leaves the image, which is found by its labels."""

    def __init__(self, name: str, args: BakedImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opensees-hpc:infra:BakedImage", name, None, opts)
        self.image = gcp.compute.Image(
            args.image_name,
            name=args.image_name,
            project=args.project,
            family=names.IMAGE_FAMILY,
            source_disk=args.disk,
            description=args.description,
            labels=dict(args.labels),
            opts=pulumi.ResourceOptions(
                parent=self,
                retain_on_delete=True,
                depends_on=(opts.depends_on if opts else None),
            ),
        )
        self.register_outputs({"link": self.image.self_link})
