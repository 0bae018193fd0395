"""Small programs for single cases; everything uses the project's default network."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_gcp as gcp

REGION, ZONE = "europe-west1", "europe-west1-b"
IMAGE = "projects/cloud-hpc-image-public/global/images/family/hpc-rocky-linux-8"


def machine(
    name: str, *, opts: pulumi.ResourceOptions | None = None, image: str = IMAGE, **more: Any
) -> gcp.compute.Instance:
    """Return a spot VM."""
    settings: dict[str, Any] = {
        "machine_type": "c2-standard-4",
        "zone": ZONE,
        "boot_disk": {"initialize_params": {"image": image, "size": 20, "type": "pd-balanced"}},
        "network_interfaces": [{"network": "default"}],
        "scheduling": {"provisioning_model": "SPOT", "preemptible": True, "automatic_restart": False},
    }
    return gcp.compute.Instance(name, name=name, **(settings | more), opts=opts)


def bucket(name: str, *, force: bool = False) -> gcp.storage.Bucket:
    """Return a bucket."""
    return gcp.storage.Bucket(name, name=name, location=REGION, uniform_bucket_level_access=True, force_destroy=force)


def network(name: str, **more: Any) -> gcp.compute.Network:
    """Return a network without subnetworks."""
    return gcp.compute.Network(name, name=name, auto_create_subnetworks=False, **more)


def disk(name: str, **more: Any) -> gcp.compute.Disk:
    """Return a small disk."""
    settings: dict[str, Any] = {"zone": ZONE, "size": 20}
    return gcp.compute.Disk(name, name=name, **(settings | more))


def after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
    """Return options with which a resource waits for these."""
    return pulumi.ResourceOptions(depends_on=list(resources))
