"""Google's APIs that the stacks need."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.provider import gcp

NEEDED = ("cloudresourcemanager", "compute", "iam", "iap", "oslogin", "storage")


@dataclass(frozen=True, kw_only=True)
class EnabledServicesArgs:
    """``project``: where; ``names``: the part of an API's name before ``.googleapis.com``."""

    project: str
    names: tuple[str, ...] = NEEDED


class EnabledServices(pulumi.ComponentResource):
    """APIs that are on. They stay on after a destroy, as something else in the project may use them."""

    def __init__(self, name: str, args: EnabledServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opensees-hpc:infra:EnabledServices", name, None, opts)
        self.services = [
            gcp.projects.Service(
                f"{name}-{service}",
                project=args.project,
                service=f"{service}.googleapis.com",
                disable_on_destroy=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for service in args.names
        ]
        self.register_outputs({})
