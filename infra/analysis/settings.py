"""The settings of an analysis stack: one batch, whose name is the stack's name."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from infra.settings import Expiry, LabelValue, MachineTypeName, Provisioning, StackSettings, Zone
from runner.model import catalog, names

ResourceName = Annotated[str, Field(pattern=f"^{names.RESOURCE_NAME.pattern}$")]


class MachineSettings(BaseModel):
    """One VM of the list ``machines``; what it omits is as for all VMs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ResourceName
    zone: Zone | None = None
    machine_type: MachineTypeName | None = None
    provisioning: Provisioning | None = None
    expires: Expiry | None = None


class AnalysisSettings(StackSettings):
    """One batch: its VMs."""

    owner: LabelValue
    """Label ``owner`` of the VMs and their disks."""

    expires: Expiry
    """When the VMs expire, as ``20261122-1530`` in UTC: a label, for the sweep."""

    count: int = Field(default=1, ge=0, le=200)
    """Number of VMs, all alike; not used if ``machines`` is given."""

    machines: tuple[MachineSettings, ...] | None = None
    """The VMs one by one, as a JSON list of objects with ``name`` and, where it differs, ``zone``, ``machine_type``, ``provisioning``, ``expires``.
    With a lease a name begins with ``opensees-hpc-``: IAM recognizes the VMs that may delete themselves by it."""

    machine_type: MachineTypeName = catalog.DEFAULT_MACHINE_TYPE
    """Machine type of the VMs."""

    provisioning: Provisioning = "spot"
    """``spot`` or ``standard``."""

    image: str = f"family/{names.IMAGE_FAMILY}"
    """What the VMs boot from: ``family/NAME`` or an image's name in this project, or a link. A family is looked up once, when a VM is created."""

    disk_gib: int = Field(default=40, ge=10, le=2000)
    """Size of each boot disk, at least that of the image."""

    max_run_seconds: int = Field(default=4 * 3600, ge=120, le=catalog.LONGEST_RUN_S)
    """Google deletes each VM after this many seconds, even if no client is left."""

    lease_s: int = Field(default=0, ge=0, le=24 * 3600)
    """A VM deletes itself if no client has renewed the lease of its batch for this many seconds. 0: no lease, as for VMs created by hand;
    ``max_run_seconds`` ends them."""

    external_ip: bool = True
    """Do the VMs have external addresses? As ``external_ips`` of the base stack."""

    @model_validator(mode="after")
    def _check_together(self) -> AnalysisSettings:
        listed = [vm.name for vm in self.machines or ()]
        twice = sorted({name for name in listed if listed.count(name) > 1})
        if twice:
            raise ValueError(f"machines: more than once: {', '.join(twice)}")
        foreign = [name for name in listed if not name.startswith(names.VM_PREFIX)]
        if self.lease_s and foreign:
            raise ValueError(
                f"machines: {', '.join(foreign)}: with a lease a VM's name begins with {names.VM_PREFIX}, or it may not delete itself"
            )
        region = self.location.region
        elsewhere = sorted({vm.zone for vm in self.machines or () if vm.zone and not vm.zone.startswith(f"{region}-")})
        if elsewhere:
            raise ValueError(f"machines: {', '.join(elsewhere)} is not in {region}, where the network is")
        return self

    def listed_machines(self, batch: str) -> tuple[MachineSettings, ...]:
        """Return the VMs one by one."""
        if self.machines is not None:
            return self.machines
        return tuple(MachineSettings(name=names.instance_name(batch, index)) for index in range(self.count))

    def image_link(self) -> str:
        """Return a family's link rather than the version that it stands for now, or each new image would replace the VMs."""
        is_link = "projects/" in self.image
        return self.image if is_link else f"projects/{self.location.project}/global/images/{self.image}"
