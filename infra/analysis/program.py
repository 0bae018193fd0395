"""An analysis stack: the VMs of one batch. Composes only."""

from __future__ import annotations

import pulumi

from infra.analysis.settings import AnalysisSettings, MachineSettings
from infra.components.ephemeral_instance import EphemeralInstance, EphemeralInstanceArgs, NewDisk
from infra.components.lease_watch import LeaseWatch
from infra.settings import check_stack_name, load_settings
from runner.model import names


def declare() -> None:
    """Declare the resources of the running stack.

    Raises:
        pulumi.RunError: a setting is wrong.
    """
    batch = check_stack_name()
    declare_batch(batch, load_settings(AnalysisSettings))


def declare_batch(batch: str, settings: AnalysisSettings) -> None:
    """Export ``instances``: a list of name, zone, address, machine_type, provisioning and image."""
    instances = []
    for vm in settings.listed_machines(batch):
        args = _instance_args(batch, settings, vm)
        component = EphemeralInstance(vm.name, args)
        instances.append(_describe_instance(component, args))
    pulumi.export("instances", instances)


def _instance_args(batch: str, settings: AnalysisSettings, vm: MachineSettings) -> EphemeralInstanceArgs:
    return EphemeralInstanceArgs(
        location=settings.location.model_copy(update={"zone": vm.zone or settings.location.zone}),
        machine_type=vm.machine_type or settings.machine_type,
        provisioning=vm.provisioning or settings.provisioning,
        boot=NewDisk(image=settings.image_link(), size_gib=settings.disk_gib),
        labels=names.labels(owner=settings.owner, expires=vm.expires or settings.expires, batch=batch),
        max_run_s=settings.max_run_seconds,
        external_ip=settings.external_ip,
        lease=LeaseWatch(batch=batch, project=settings.location.project, lease_s=settings.lease_s),
    )


def _describe_instance(
    component: EphemeralInstance, args: EphemeralInstanceArgs
) -> dict[str, pulumi.Input[str | None]]:
    return {
        "name": component.instance.name,
        "zone": args.location.zone,
        "address": component.address,
        "machine_type": args.machine_type,
        "provisioning": args.provisioning,
        "image": component.image,
    }
