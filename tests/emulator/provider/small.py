"""Small programs for single cases; everything stands on the project's default network."""

import pulumi
import pulumi_gcp as gcp

ZONE = "europe-west1-b"
IMAGE = "projects/cloud-hpc-image-public/global/images/family/hpc-rocky-linux-8"


def machine(name, *, opts=None, image=IMAGE, **more):
    """A spot VM."""
    settings = {
        "machine_type": "c2-standard-4",
        "zone": ZONE,
        "boot_disk": {"initialize_params": {"image": image, "size": 20, "type": "pd-balanced"}},
        "network_interfaces": [{"network": "default"}],
        "scheduling": {"provisioning_model": "SPOT", "preemptible": True, "automatic_restart": False},
    }
    return gcp.compute.Instance(name, name=name, **(settings | more), opts=opts)


def bucket(name, *, force=False):
    """A bucket."""
    return gcp.storage.Bucket(
        name, name=name, location="europe-west1", uniform_bucket_level_access=True, force_destroy=force
    )


def network(name, **more):
    """A network without subnetworks."""
    return gcp.compute.Network(name, name=name, auto_create_subnetworks=False, **more)


def after(*resources):
    """Wait for these."""
    return pulumi.ResourceOptions(depends_on=list(resources))
