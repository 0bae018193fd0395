"""The permissions that exist: custom roles with other permissions are rejected, as by Google.

Source: Google's IAM permissions reference (2026-11), for the resources that this cloud has. For services that it does not
offer, it accepts everything that has the form of a permission.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from runner.errors import CloudError

_FORM = re.compile(r"[a-z][a-z0-9-]*(\.[a-zA-Z0-9]+){2,}")
_POLICY = "getIamPolicy setIamPolicy"
_PLAIN = "create delete get list update use"
_READ = "get list"
_OPERATION = "delete get list"

#: The verbs by service and kind of resource.
VERBS: Mapping[str, Mapping[str, str]] = {
    "compute": {
        "addresses": f"{_PLAIN} createInternal deleteInternal setLabels useInternal",
        "diskTypes": _READ,
        "disks": f"{_PLAIN} {_POLICY} addResourcePolicies createSnapshot removeResourcePolicies resize setLabels "
        "useReadOnly",
        "firewalls": "create delete get list update",
        "globalAddresses": f"{_PLAIN} setLabels",
        "globalOperations": f"{_OPERATION} {_POLICY}",
        "images": f"create delete get list update {_POLICY} deprecate getFromFamily setLabels useReadOnly",
        "instances": f"{_PLAIN} {_POLICY} addAccessConfig addResourcePolicies attachDisk deleteAccessConfig detachDisk "
        "getEffectiveFirewalls getGuestAttributes getScreenshot getSerialPortOutput getShieldedInstanceIdentity "
        "listReferrers osAdminLogin osLogin removeResourcePolicies reset resume sendDiagnosticInterrupt "
        "setDeletionProtection setDiskAutoDelete setLabels setMachineResources setMachineType setMetadata "
        "setMinCpuPlatform setScheduling setServiceAccount setShieldedInstanceIntegrityPolicy setTags "
        "simulateMaintenanceEvent start startWithEncryptionKey stop suspend updateAccessConfig updateDisplayDevice "
        "updateNetworkInterface updateSecurity updateShieldedInstanceConfig updateShieldedVmConfig useReadOnly",
        "machineTypes": _READ,
        "networks": f"{_PLAIN} access addPeering getEffectiveFirewalls removePeering switchToCustomMode updatePeering "
        "updatePolicy useExternalIp",
        "projects": "get setCommonInstanceMetadata setDefaultNetworkTier setDefaultServiceAccount setUsageExportBucket",
        "regionOperations": f"{_OPERATION} {_POLICY}",
        "regions": _READ,
        "routers": _PLAIN,
        "snapshots": f"create delete get list {_POLICY} setLabels useReadOnly",
        "subnetworks": f"{_PLAIN} {_POLICY} expandIpCidrRange setPrivateIpGoogleAccess useExternalIp",
        "zoneOperations": f"{_OPERATION} {_POLICY}",
        "zones": _READ,
    },
    "iam": {
        "roles": "create delete get list undelete update",
        "serviceAccountKeys": "create delete disable enable get list",
        "serviceAccounts": f"create delete disable enable get list undelete update {_POLICY} actAs getAccessToken "
        "getOpenIdToken implicitDelegation signBlob signJwt",
    },
    "resourcemanager": {"projects": f"create delete get list move undelete update {_POLICY}"},
    "serviceusage": {"services": "disable enable get list use", "operations": "cancel delete get list"},
    "storage": {
        "anywhereCaches": "create disable get list pause resume update",
        "buckets": f"create delete get list update {_POLICY} enableObjectRetention getObjectInsights relocate restore",
        "folders": "create delete get list rename",
        "managedFolders": f"create delete get list {_POLICY}",
        "multipartUploads": "abort create list listParts",
        "objects": f"create delete get list update {_POLICY} move overrideUnlockedRetention restore setRetention",
    },
}


def is_valid(permission: str) -> bool:
    """Return whether this permission exists."""
    if _FORM.fullmatch(permission) is None:
        return False
    service, kind, *verb = permission.split(".")
    kinds = VERBS.get(service)
    return kinds is None or ".".join(verb) in kinds.get(kind, "").split()


def check_permissions(permissions: Iterable[object]) -> None:
    """Check that all permissions exist.

    Raises:
        CloudError: 400, one does not.
    """
    for permission in permissions:
        if not is_valid(str(permission)):
            raise CloudError(f"Permission {permission} is not valid.", reason="badRequest", status=400)


def expand(patterns: Iterable[str]) -> list[str]:
    """Expand patterns such as ``compute.*`` to the permissions that they match, sorted."""
    every = [
        f"{service}.{kind}.{verb}"
        for service in VERBS
        for kind in VERBS[service]
        for verb in VERBS[service][kind].split()
    ]
    found = set()
    for pattern in patterns:
        prefix = pattern.removesuffix("*")
        found |= {one for one in every if one == pattern or (prefix != pattern and one.startswith(prefix))}
    return sorted(found)
