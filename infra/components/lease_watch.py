"""What makes a batch's VM end itself when nobody watches the batch any more: metadata for what runs on it, and the right to do so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi

from infra.provider import gcp
from infra.settings import Place
from runner.model import names

SCRIPTS = Path(__file__).with_name("vm_scripts")


@dataclass(frozen=True, kw_only=True)
class LeaseWatch:
    """The lease of ``batch``. ``lease_s``: 0 for none; then only preemption is told, and ``maxRunDuration`` ends the VM.

    ``self_delete_role``: the role on itself that a VM with a lease has.
    """

    batch: str
    project: str
    lease_s: int
    self_delete_role: str

    def metadata(self) -> dict[str, str]:
        """What the scripts on the VM are told."""
        told = {
            names.VM_BATCH: self.batch,
            names.VM_BUCKET: names.bucket_name(self.project),
            "shutdown-script": (SCRIPTS / "shutdown.sh").read_text(),
        }
        if self.lease_s == 0:
            return told
        watch = {names.VM_LEASE_S: str(self.lease_s), "startup-script": (SCRIPTS / "startup.sh").read_text()}
        return told | watch


def let_delete_itself(
    name: str, instance: gcp.compute.Instance, place: Place, role: str, parent: pulumi.Resource
) -> None:
    """Let the service account of our VMs look at this VM and delete it. A destroy asks for nothing: the right goes with the VM."""
    gcp.compute.InstanceIAMMember(
        f"{name}-self-delete",
        project=place.project,
        zone=place.zone,
        instance_name=instance.name,
        role=role,
        member=f"serviceAccount:{names.service_account_email(place.project)}",
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=instance),
    )
