"""The inputs of the recorded programs in their second round, as the SDK sends them, and the ID of each resource."""

from __future__ import annotations

from typing import Any

LABELS = {"study": "demo", "rev": "b"}
IMAGE = "projects/cloud-hpc-image-public/global/images/family/hpc-rocky-linux-8"
NETWORK = "projects/demo/global/networks/study-net"
REGION, ZONE = "europe-west1", "europe-west1-b"
ACCOUNT = "study-runner@demo.iam.gserviceaccount.com"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEexampleexampleexampleexampleexampleexampleAA user"
KEY_ID = "f192d30c5de7ee4aa971616e867c5f4646a41e2b80d48add2d08b3dce036f71f"

INSTANCE: dict[str, Any] = {
    "name": "run-1",
    "machineType": "c2-standard-16",
    "zone": ZONE,
    "bootDisk": {"autoDelete": True, "initializeParams": {"image": IMAGE, "size": 50, "type": "pd-balanced"}},
    "networkInterfaces": [
        {"subnetwork": "projects/demo/regions/europe-west1/subnetworks/study-sub", "accessConfigs": [{}]}
    ],
    "scheduling": {
        "provisioningModel": "SPOT",
        "preemptible": True,
        "automaticRestart": False,
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": 7200},
    },
    "serviceAccount": {"email": ACCOUNT, "scopes": ["cloud-platform"]},
    "shieldedInstanceConfig": {"enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True},
    "metadata": {"enable-oslogin": "TRUE", "enable-guest-attributes": "TRUE", "run": "b"},
    "metadataStartupScript": "#!/bin/bash\necho run\n",
    "tags": ["study-ssh"],
    "labels": LABELS,
}

#: By the names in required_fields.json: the recording, the type, the ID, the inputs.
DECLARED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "storage.Bucket": (
        "base",
        "gcp:storage/bucket:Bucket",
        "demo-results",
        {
            "name": "demo-results",
            "location": REGION,
            "uniformBucketLevelAccess": True,
            "publicAccessPrevention": "enforced",
            "labels": LABELS,
            "versioning": {"enabled": False},
            "softDeletePolicy": {"retentionDurationSeconds": 604800},
            "lifecycleRules": [{"action": {"type": "Delete"}, "condition": {"age": 30}}],
        },
    ),
    "storage.BucketObject": (
        "base",
        "gcp:storage/bucketObject:BucketObject",
        "demo-results-study/README.txt",
        {"bucket": "demo-results", "name": "study/README.txt", "content": "hello b\n", "contentType": "text/plain"},
    ),
    "serviceaccount.Account": (
        "base",
        "gcp:serviceaccount/account:Account",
        f"projects/demo/serviceAccounts/{ACCOUNT}",
        {"accountId": "study-runner", "displayName": "Study runner b", "description": "runs the analyses"},
    ),
    "projects.IAMCustomRole": (
        "base",
        "gcp:projects/iAMCustomRole:IAMCustomRole",
        "projects/demo/roles/studySelfDelete",
        {
            "roleId": "studySelfDelete",
            "title": "Study self delete",
            "description": "lets a runner delete itself",
            "permissions": [
                "compute.instances.delete",
                "compute.instances.get",
                "compute.zoneOperations.get",
                "compute.disks.delete",
            ],
        },
    ),
    "compute.ProjectMetadataItem": (
        "base",
        "gcp:compute/projectMetadataItem:ProjectMetadataItem",
        "enable-oslogin",
        {"key": "enable-oslogin", "value": "true"},
    ),
    "oslogin.SshPublicKey": (
        "base",
        "gcp:oslogin/sshPublicKey:SshPublicKey",
        f"users/user@example.com/sshPublicKeys/{KEY_ID}",
        {"user": "user@example.com", "key": KEY, "project": "demo"},
    ),
    "compute.Network": (
        "base",
        "gcp:compute/network:Network",
        NETWORK,
        {"name": "study-net", "autoCreateSubnetworks": False},
    ),
    "compute.Subnetwork": (
        "base",
        "gcp:compute/subnetwork:Subnetwork",
        "projects/demo/regions/europe-west1/subnetworks/study-sub",
        {
            "name": "study-sub",
            "network": NETWORK,
            "region": REGION,
            "ipCidrRange": "10.10.0.0/24",
            "privateIpGoogleAccess": True,
        },
    ),
    "compute.Firewall": (
        "base",
        "gcp:compute/firewall:Firewall",
        "projects/demo/global/firewalls/study-ssh",
        {
            "name": "study-ssh",
            "network": NETWORK,
            "allows": [{"protocol": "tcp", "ports": ["22"]}],
            "sourceRanges": ["198.51.100.7/32"],
            "targetTags": ["study-ssh"],
            "description": "ssh",
        },
    ),
    "compute.Router": (
        "base",
        "gcp:compute/router:Router",
        "projects/demo/regions/europe-west1/routers/study-router",
        {"name": "study-router", "network": NETWORK, "region": REGION},
    ),
    "compute.RouterNat": (
        "base",
        "gcp:compute/routerNat:RouterNat",
        "demo/europe-west1/study-router/study-nat",
        {
            "name": "study-nat",
            "router": "study-router",
            "region": REGION,
            "natIpAllocateOption": "AUTO_ONLY",
            "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
        },
    ),
    "compute.Disk": (
        "image",
        "gcp:compute/disk:Disk",
        "projects/demo/zones/europe-west1-b/disks/builder-root",
        {"name": "builder-root", "zone": ZONE, "image": IMAGE, "size": 40, "type": "pd-ssd", "labels": LABELS},
    ),
    "compute.Image": (
        "image",
        "gcp:compute/image:Image",
        "projects/demo/global/images/opensees-hpc-1",
        {
            "name": "opensees-hpc-1",
            "family": "opensees-hpc",
            "sourceDisk": "projects/demo/zones/europe-west1-b/disks/builder-keep",
            "description": "OpenSees b",
            "labels": {"opensees": "3-7", "rev": "b"},
        },
    ),
    "compute.Instance": (
        "analysis",
        "gcp:compute/instance:Instance",
        "projects/demo/zones/europe-west1-b/instances/run-1",
        INSTANCE,
    ),
}
