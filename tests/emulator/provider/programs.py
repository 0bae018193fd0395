"""Programs like those that the traces were recorded with: the base of a project, a bake, a batch.

``variant`` "a" is the first round, "b" the second, in which labels, metadata, roles and so on differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_gcp as gcp

PROJECT, REGION, ZONES = "demo", "europe-west1", ("europe-west1-b", "europe-west1-c")
ACCOUNT_ID = "study-runner"
ACCOUNT = f"{ACCOUNT_ID}@{PROJECT}.iam.gserviceaccount.com"
SUBNETWORK = f"projects/{PROJECT}/regions/{REGION}/subnetworks/study-sub"
IMAGE_PROJECT, FAMILY = "cloud-hpc-image-public", "hpc-rocky-linux-8"
IMAGE = f"projects/{IMAGE_PROJECT}/global/images/family/{FAMILY}"
USER = "user@example.com"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEexampleexampleexampleexampleexampleexampleAA user"
GUEST = {"enable-oslogin": "TRUE", "enable-guest-attributes": "TRUE"}


def _labels(variant: str) -> dict[str, str]:
    return {"study": "demo", "rev": variant}


def _service_account() -> Any:
    return {"email": ACCOUNT, "scopes": ["cloud-platform"]}


def _spot(action: str, **more: object) -> Any:
    plain: dict[str, object] = {"provisioning_model": "SPOT", "preemptible": True, "automatic_restart": False}
    return plain | {"instance_termination_action": action} | more


def base(variant: str) -> None:
    """Bucket, identities, network."""
    first = variant == "a"
    service = gcp.projects.Service("compute-api", service="compute.googleapis.com", disable_on_destroy=False)
    _declare_storage(variant)
    _declare_identities(first)
    _declare_network(first, pulumi.ResourceOptions(depends_on=[service]))


def _declare_storage(variant: str) -> None:
    bucket = gcp.storage.Bucket(
        "results",
        name="demo-results",
        location=REGION,
        uniform_bucket_level_access=True,
        public_access_prevention="enforced",
        labels=_labels(variant),
        versioning={"enabled": False},
        force_destroy=False,
        soft_delete_policy={"retention_duration_seconds": 604800},
        lifecycle_rules=[{"action": {"type": "Delete"}, "condition": {"age": 30}}],
    )
    gcp.storage.BucketObject(
        "note", bucket=bucket.name, name="study/README.txt", content=f"hello {variant}\n", content_type="text/plain"
    )
    member = f"serviceAccount:{ACCOUNT}"
    runner = gcp.serviceaccount.Account(
        "runner",
        account_id=ACCOUNT_ID,
        display_name=f"Study runner {variant}",
        description="runs the analyses",
    )
    gcp.storage.BucketIAMMember(
        "runner-objects",
        bucket=bucket.name,
        role="roles/storage.objectUser",
        member=runner.email.apply(lambda _: member),
    )
    gcp.serviceaccount.IAMMember(
        "user-acts-as",
        service_account_id=runner.name,
        role="roles/iam.serviceAccountUser",
        member=f"user:{USER}",
    )


def _declare_identities(first: bool) -> None:
    permissions = ["compute.instances.delete", "compute.instances.get", "compute.zoneOperations.get"]
    role = gcp.projects.IAMCustomRole(
        "stopper",
        role_id="studySelfDelete",
        title="Study self delete",
        description="lets a runner delete itself",
        permissions=permissions if first else [*permissions, "compute.disks.delete"],
    )
    user = gcp.projects.IAMMember("user-ssh", project=PROJECT, role="roles/compute.osAdminLogin", member=f"user:{USER}")
    gcp.projects.IAMMember(
        "runner-stopper",
        project=PROJECT,
        role=role.name,
        member=f"serviceAccount:{ACCOUNT}",
        opts=pulumi.ResourceOptions(depends_on=[user]),
    )
    gcp.oslogin.SshPublicKey("key", user=USER, key=KEY, project=PROJECT)


def _declare_network(first: bool, after_api: pulumi.ResourceOptions) -> None:
    network = gcp.compute.Network("net", name="study-net", auto_create_subnetworks=False, opts=after_api)
    gcp.compute.Subnetwork(
        "sub",
        name="study-sub",
        network=network.id,
        region=REGION,
        ip_cidr_range="10.10.0.0/24",
        private_ip_google_access=True,
    )
    gcp.compute.Firewall(
        "ssh",
        name="study-ssh",
        network=network.id,
        allows=[{"protocol": "tcp", "ports": ["22"]}],
        source_ranges=["198.51.100.0/24" if first else "198.51.100.7/32"],
        target_tags=["study-ssh"],
        description="ssh",
    )
    router = gcp.compute.Router("router", name="study-router", network=network.id, region=REGION)
    gcp.compute.RouterNat(
        "nat",
        name="study-nat",
        router=router.name,
        region=REGION,
        nat_ip_allocate_option="AUTO_ONLY",
        source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
    )
    gcp.compute.ProjectMetadataItem("oslogin", key="enable-oslogin", value="TRUE" if first else "true", opts=after_api)


def image(variant: str) -> None:
    """Builders with boot disks created in three ways; in the second round they are stopped, and images created."""
    labels = _labels(variant)
    newest = gcp.compute.get_image(family=FAMILY, project=IMAGE_PROJECT)
    zones = gcp.compute.get_zones(region=REGION)
    client = gcp.organizations.get_client_config()
    project = gcp.organizations.get_project(project_id=PROJECT)

    def builder(name: str, disk: Any) -> gcp.compute.Instance:
        return gcp.compute.Instance(
            name,
            name=name,
            machine_type="c2-standard-8",
            zone=ZONES[0],
            desired_status="RUNNING" if variant == "a" else "TERMINATED",
            boot_disk=disk,
            network_interfaces=[{"subnetwork": SUBNETWORK, "access_configs": [{}]}],
            scheduling=_spot("STOP"),
            service_account=_service_account(),
            metadata=GUEST,
            metadata_startup_script="#!/bin/bash\necho build\n",
            tags=["study-ssh"],
            labels=labels,
            allow_stopping_for_update=True,
        )

    made = {"initialize_params": {"image": IMAGE, "size": 40, "type": "pd-ssd"}}
    keep = builder("builder-keep", {"auto_delete": False, **made})
    builder("builder-temp", {"auto_delete": True, **made})
    disk = gcp.compute.Disk(
        "root", name="builder-root", zone=ZONES[0], image=IMAGE, size=40, type="pd-ssd", labels=labels
    )
    third = builder("builder-disk", {"auto_delete": False, "source": disk.self_link})
    if variant != "a":
        gcp.compute.Image(
            "image",
            name="opensees-hpc-1",
            family="opensees-hpc",
            source_disk=keep.boot_disk.source,
            description=f"OpenSees {variant}",
            labels={"opensees": "3-7", "rev": variant},
        )
        gcp.compute.Image(
            "image2",
            name="opensees-hpc-2",
            family="opensees-hpc",
            source_disk=disk.self_link,
            labels=labels,
            opts=pulumi.ResourceOptions(depends_on=[third]),
        )
    pulumi.export("source", newest.self_link)
    pulumi.export("zones", zones.names)
    pulumi.export("client", [client.project, client.region, client.zone])
    pulumi.export("number", project.number)


def analysis(variant: str) -> None:
    """Three spot VMs in two zones, one without an external address."""
    places = ((1, ZONES[0], True), (2, ZONES[1], True), (3, ZONES[0], False))
    vms = [_declare_run(f"run-{number}", zone, external, variant) for number, zone, external in places]
    pulumi.export("networkIps", [vm.network_interfaces[0].network_ip for vm in vms])
    pulumi.export("natIp", vms[0].network_interfaces[0].access_configs[0].nat_ip)
    pulumi.export("statuses", [vm.current_status for vm in vms])


def _declare_run(name: str, zone: str, external: bool, variant: str) -> gcp.compute.Instance:
    interface: Any = {"subnetwork": SUBNETWORK} | ({"access_configs": [{}]} if external else {})
    return gcp.compute.Instance(
        name,
        name=name,
        machine_type="c2-standard-16",
        zone=zone,
        boot_disk={"auto_delete": True, "initialize_params": {"image": IMAGE, "size": 50, "type": "pd-balanced"}},
        network_interfaces=[interface],
        scheduling=_spot("DELETE", max_run_duration={"seconds": 7200}),
        service_account=_service_account(),
        shielded_instance_config={"enable_secure_boot": True, "enable_vtpm": True, "enable_integrity_monitoring": True},
        metadata=GUEST | {"run": variant},
        metadata_startup_script="#!/bin/bash\necho run\n",
        tags=["study-ssh"],
        labels=_labels(variant),
    )


PROGRAMS: dict[str, Callable[[str], None]] = {"base": base, "image": image, "analysis": analysis}
