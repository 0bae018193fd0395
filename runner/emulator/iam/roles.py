"""The permissions of the predefined roles that matter here. Custom roles are documents in the store.

Source: Google's IAM reference of predefined roles, reduced to the permissions that this cloud requires (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping

_OBJECT_READ = frozenset({"storage.objects.get", "storage.objects.list"})
_OBJECT_WRITE = frozenset({"storage.objects.create", "storage.objects.delete", "storage.objects.update"})
_BUCKET_READ = frozenset({"storage.buckets.get", "storage.buckets.list"})
_BUCKET_ADMIN = _BUCKET_READ | {
    "storage.buckets.create",
    "storage.buckets.delete",
    "storage.buckets.update",
    "storage.buckets.getIamPolicy",
    "storage.buckets.setIamPolicy",
}

#: ``*`` at the end stands for anything.
ROLE_PERMISSIONS: Mapping[str, frozenset[str]] = {
    "roles/owner": frozenset({"*"}),
    "roles/editor": frozenset({"compute.*", "storage.buckets.*", "iam.serviceAccounts.get", "serviceusage.*"}),
    "roles/viewer": frozenset({"compute.projects.get", "compute.instances.get", "compute.instances.list"}),
    "roles/compute.admin": frozenset({"compute.*"}),
    "roles/compute.instanceAdmin": frozenset({"compute.instances.*", "compute.disks.*", "compute.zoneOperations.*"}),
    "roles/compute.instanceAdmin.v1": frozenset(
        {
            "compute.instances.*",
            "compute.disks.*",
            "compute.images.*",
            "compute.zoneOperations.*",
            "compute.globalOperations.*",
        }
    ),
    "roles/compute.viewer": frozenset(
        {
            "compute.instances.get",
            "compute.instances.list",
            "compute.disks.get",
            "compute.disks.list",
            "compute.images.get",
            "compute.images.list",
            "compute.zones.get",
            "compute.zones.list",
            "compute.regions.get",
            "compute.regions.list",
            "compute.projects.get",
            "compute.machineTypes.get",
            "compute.machineTypes.list",
            "compute.zoneOperations.get",
            "compute.zoneOperations.list",
        }
    ),
    "roles/compute.osLogin": frozenset({"compute.instances.osLogin"}),
    "roles/compute.osAdminLogin": frozenset({"compute.instances.osLogin", "compute.instances.osAdminLogin"}),
    "roles/iam.serviceAccountUser": frozenset({"iam.serviceAccounts.actAs", "iam.serviceAccounts.get"}),
    "roles/storage.admin": _BUCKET_ADMIN | _OBJECT_READ | _OBJECT_WRITE,
    "roles/storage.objectAdmin": _OBJECT_READ | _OBJECT_WRITE,
    "roles/storage.objectUser": _OBJECT_READ | _OBJECT_WRITE,
    "roles/storage.objectCreator": frozenset({"storage.objects.create"}),
    "roles/storage.objectViewer": _OBJECT_READ,
    "roles/storage.legacyBucketReader": _OBJECT_READ | {"storage.buckets.get"},
    "roles/storage.legacyBucketWriter": frozenset(
        {"storage.objects.create", "storage.objects.delete", "storage.objects.list", "storage.buckets.get"}
    ),
    "roles/storage.legacyObjectReader": frozenset({"storage.objects.get"}),
}


def grants(permissions: frozenset[str], permission: str) -> bool:
    """Return whether ``permission`` is among them, with wildcards."""
    return permission in permissions or any(
        permission.startswith(pattern[:-1]) for pattern in permissions if pattern.endswith("*")
    )
