"""A VM with a limited life: those that run analyses, and the one that bakes the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from infra.components.lease_watch import LeaseWatch
from infra.provider import gcp
from infra.settings import Location, Provisioning
from runner.model import names

METADATA = {"enable-oslogin": "TRUE", "enable-guest-attributes": "TRUE", "block-project-ssh-keys": "TRUE"}
DISK_TYPE = "pd-balanced"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


@dataclass(frozen=True, kw_only=True)
class NewDisk:
    """A boot disk that is created and deleted with its VM. ``image``: a link; a family's link stays unchanged by later images."""

    image: str
    size_gib: int


@dataclass(frozen=True, kw_only=True)
class EphemeralInstanceArgs:
    """``boot``: a disk to create, or the link of one that exists. ``max_run_s``: then Google deletes the VM.

    ``location.zone`` is the VM's zone. ``stopped``: declare it as TERMINATED, so that an image can be created from its disk.
    ``lease``: of the batch that it works for.
    """

    location: Location
    machine_type: str
    provisioning: Provisioning
    boot: NewDisk | pulumi.Output[str]
    labels: Mapping[str, str]
    max_run_s: int
    external_ip: bool
    stopped: bool = False
    lease: LeaseWatch | None = None


class EphemeralInstance(pulumi.ComponentResource):
    """One VM with a time limit after which Google deletes it, its disk with it; logins by OS Login only."""

    def __init__(self, name: str, args: EphemeralInstanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("opensees-hpc:infra:EphemeralInstance", name, None, opts)
        self.instance = gcp.compute.Instance(
            name,
            name=name,
            project=args.location.project,
            zone=args.location.zone,
            machine_type=args.machine_type,
            labels=dict(args.labels),
            tags=[names.NETWORK_TAG],
            metadata=METADATA | (args.lease.metadata() if args.lease else {}),
            boot_disk=_boot_disk(args),
            network_interfaces=[_network_interface(args)],
            scheduling=_scheduling(args),
            # The scope is wide because IAM is the limit: one bucket, and the VMs of batches.
            service_account={"email": names.service_account_email(args.location.project), "scopes": SCOPES},
            shielded_instance_config={
                "enable_secure_boot": True,
                "enable_vtpm": True,
                "enable_integrity_monitoring": True,
            },
            desired_status="TERMINATED" if args.stopped else "RUNNING",
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.address = self.instance.network_interfaces.apply(_address)
        # All of a boot disk is secret, for the key that it might be encrypted with; its source is not.
        self.image = pulumi.Output.unsecret(self.instance.boot_disk.apply(_image))
        self.register_outputs({"address": self.address})


def _boot_disk(args: EphemeralInstanceArgs) -> gcp.compute.InstanceBootDiskArgsDict:
    if not isinstance(args.boot, NewDisk):
        return {"auto_delete": True, "source": args.boot}
    disk = {"image": args.boot.image, "size": args.boot.size_gib, "type": DISK_TYPE, "labels": dict(args.labels)}
    return {"auto_delete": True, "initialize_params": disk}  # type: ignore[typeddict-item]  # a TypedDict of its own


def _network_interface(args: EphemeralInstanceArgs) -> gcp.compute.InstanceNetworkInterfaceArgsDict:
    location = args.location
    link = f"projects/{location.project}/regions/{location.region}/subnetworks/{names.SUBNETWORK}"
    return {"subnetwork": link, "access_configs": [{}]} if args.external_ip else {"subnetwork": link}


def _scheduling(args: EphemeralInstanceArgs) -> gcp.compute.InstanceSchedulingArgsDict:
    spot = args.provisioning == "spot"
    return {
        "provisioning_model": "SPOT" if spot else "STANDARD",
        "preemptible": spot,
        "automatic_restart": False,
        "on_host_maintenance": "TERMINATE",
        "instance_termination_action": "DELETE",
        "max_run_duration": {"seconds": args.max_run_s},
    }


def _address(interfaces: Sequence[gcp.compute.outputs.InstanceNetworkInterface]) -> str | None:
    """Return the address for SSH: the external one if the VM has one, else the internal one."""
    first = interfaces[0]
    external = [config.nat_ip for config in first.access_configs or [] if config.nat_ip]
    return external[0] if external else first.network_ip


def _image(disk: gcp.compute.outputs.InstanceBootDisk) -> str | None:
    return disk.initialize_params.image if disk.initialize_params else None
