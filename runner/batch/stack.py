"""The VMs of a batch as its Pulumi stack has them: created and deleted by updates of the stack, only while the lease is ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from runner.context import Context
from runner.google import Login
from runner.jobsfile import Definition
from runner.lease import LeaseCheck
from runner.model import names
from runner.stacks import EngineLimit, StackSpec, report_stack_progress

LOGIN_SLACK_S = 3600.0
UP_LIMIT_S = 20 * 60.0  # as long as the provider waits for a VM; an engine that takes longer hangs


@dataclass(frozen=True, kw_only=True)
class VMWish:
    """A VM as it is requested. ``expires``: the label with the time by which it must be gone; '' until it is about to be created."""

    name: str
    zone: str
    machine_type: str
    provisioning: str
    expires: str = field(default="", compare=False)

    def as_json(self) -> dict[str, str]:
        """Return the VM as the stack's setting ``machines`` has it."""
        values = {
            "name": self.name,
            "zone": self.zone,
            "machine_type": self.machine_type,
            "provisioning": self.provisioning,
        }
        return values | ({"expires": self.expires} if self.expires else {})


class VMStack(Protocol):
    """What a fleet needs to create VMs and to delete them. Every call may raise HpcError.

    ``check``: raises WatchedError if the batch is another client's by now, UnreachableError if that is unknown. Call it before
    anything is created or deleted.
    """

    @property
    def check(self) -> LeaseCheck: ...

    def new_login(self) -> Login:
        """Return a login that outlives the VMs that are created now."""

    def update(self, wishes: Sequence[VMWish]) -> None:
        """Create the requested VMs that do not exist, delete the existing VMs that are not requested. Idempotent."""


@dataclass(frozen=True, kw_only=True)
class BatchStack:
    """The stack of one batch. ``check``: the check of the batch's lease."""

    context: Context
    definition: Definition
    check: LeaseCheck

    def new_login(self) -> Login:
        """Leave a key for the VMs.

        Raises:
            CloudError: no key could be left.
        """
        return self.context.cloud.logins.import_key(lifetime_s=self.definition.plan.max_run_s + LOGIN_SLACK_S)

    def update(self, wishes: Sequence[VMWish]) -> None:
        """Run one ``pulumi up`` of the stack with these VMs.

        Raises:
            HpcError: what failed; some of the VMs may exist nevertheless.
        """
        progress = report_stack_progress(self.context.listener, self.definition.plan.batch)
        spec = analysis_spec(self.context, self.definition, wishes)
        self.context.cloud.stacks.up(spec, progress, limit=EngineLimit(limit_s=UP_LIMIT_S))


def analysis_spec(context: Context, definition: Definition, wishes: Sequence[VMWish]) -> StackSpec:
    """Return the settings of a batch's stack with these VMs."""
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
    location = {"gcp:project": settings.project, "gcp:region": settings.region, "gcp:zone": plan.zone}
    return StackSpec(
        project="analysis",
        name=plan.batch,
        config=location | {f"{names.CONFIG_NAMESPACE}:{key}": value for key, value in ours.items()},
    )
