"""The fields that a request body may have, and their types: data for ``validation.check_fields``.

``str``, ``bool``, ``int`` (also as text, as JSON has no 64-bit numbers), ``float``; ``[x]`` a list of x; ``{}`` an object
with these fields; ``TEXTS`` an object of any keys with text values; ``ANY`` anything. Source: Google's discovery documents,
without the fields that mean nothing to this cloud.
"""

from __future__ import annotations

from typing import Any, Final

ANY: Final = "any"
TEXTS: Final = "texts"

_OUTPUT: dict[str, Any] = {
    "kind": str,
    "id": int,
    "selfLink": str,
    "creationTimestamp": str,
    "status": str,
    "fingerprint": str,
    "labelFingerprint": str,
    "region": str,
    "zone": str,
}
_METADATA = {"kind": str, "fingerprint": str, "items": [{"key": str, "value": str}]}
_DURATION = {"seconds": int, "nanos": int}

SCHEDULING: dict[str, Any] = {
    "automaticRestart": bool,
    "preemptible": bool,
    "onHostMaintenance": str,
    "provisioningModel": str,
    "instanceTerminationAction": str,
    "maxRunDuration": _DURATION,
    "terminationTime": str,
    "nodeAffinities": [ANY],
    "gracefulShutdown": ANY,
    "hostErrorTimeoutSeconds": int,
    "localSsdRecoveryTimeout": _DURATION,
    "locationHint": str,
    "minNodeCpus": int,
    "availabilityDomain": int,
    "onInstanceStopAction": ANY,
    "preemptionNoticeDuration": _DURATION,
    "skipGuestOsShutdown": bool,
}

_ATTACHED_DISK = {
    "kind": str,
    "type": str,
    "mode": str,
    "source": str,
    "deviceName": str,
    "index": int,
    "boot": bool,
    "autoDelete": bool,
    "interface": str,
    "diskSizeGb": int,
    "architecture": str,
    "guestOsFeatures": [{"type": str}],
    "licenses": [str],
    "forceAttach": bool,
    "diskEncryptionKey": ANY,
    "initializeParams": {
        "diskName": str,
        "diskSizeGb": int,
        "diskType": str,
        "sourceImage": str,
        "sourceSnapshot": str,
        "labels": TEXTS,
        "description": str,
        "resourceManagerTags": TEXTS,
        "resourcePolicies": [str],
        "provisionedIops": int,
        "provisionedThroughput": int,
        "architecture": str,
        "onUpdateAction": str,
    },
}

_NIC = {
    "kind": str,
    "name": str,
    "network": str,
    "subnetwork": str,
    "networkIP": str,
    "stackType": str,
    "nicType": str,
    "fingerprint": str,
    "queueCount": int,
    "accessConfigs": [
        {"kind": str, "type": str, "name": str, "natIP": str, "networkTier": str, "publicPtrDomainName": str}
    ],
    "aliasIpRanges": [ANY],
    "ipv6AccessConfigs": [ANY],
}

INSTANCE: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "machineType": str,
    "minCpuPlatform": str,
    "canIpForward": bool,
    "deletionProtection": bool,
    "hostname": str,
    "labels": TEXTS,
    "tags": {"items": [str], "fingerprint": str},
    "metadata": _METADATA,
    "disks": [_ATTACHED_DISK],
    "networkInterfaces": [_NIC],
    "scheduling": SCHEDULING,
    "serviceAccounts": [{"email": str, "scopes": [str]}],
    "shieldedInstanceConfig": {"enableSecureBoot": bool, "enableVtpm": bool, "enableIntegrityMonitoring": bool},
    "params": {"resourceManagerTags": TEXTS, "requestValidForDuration": _DURATION},
    "advancedMachineFeatures": ANY,
    "confidentialInstanceConfig": ANY,
    "displayDevice": {"enableDisplay": bool},
    "guestAccelerators": [ANY],
    "instanceEncryptionKey": ANY,
    "keyRevocationActionType": str,
    "networkPerformanceConfig": ANY,
    "reservationAffinity": ANY,
    "resourcePolicies": [str],
    "sourceMachineImage": str,
}

DISK: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "sizeGb": int,
    "type": str,
    "sourceImage": str,
    "sourceSnapshot": str,
    "labels": TEXTS,
    "physicalBlockSizeBytes": int,
    "provisionedIops": int,
    "provisionedThroughput": int,
    "guestOsFeatures": [{"type": str}],
    "licenses": [str],
    "resourcePolicies": [str],
    "architecture": str,
    "accessMode": str,
    "enableConfidentialCompute": bool,
    "multiWriter": bool,
    "storagePool": str,
    "params": ANY,
    "sourceImageEncryptionKey": ANY,
    "diskEncryptionKey": ANY,
}

DEPRECATION: dict[str, Any] = {
    "state": str,
    "replacement": str,
    "deprecated": str,
    "obsolete": str,
    "deleted": str,
}

IMAGE: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "family": str,
    "sourceDisk": str,
    "sourceImage": str,
    "sourceSnapshot": str,
    "labels": TEXTS,
    "diskSizeGb": int,
    "licenses": [str],
    "storageLocations": [str],
    "guestOsFeatures": [{"type": str}],
    "architecture": str,
    "rawDisk": ANY,
    "sourceType": str,
    "shieldedInstanceInitialState": ANY,
    "deprecated": DEPRECATION,
    "enableConfidentialCompute": bool,
    "imageEncryptionKey": ANY,
    "params": ANY,
}

NETWORK: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "autoCreateSubnetworks": bool,
    "mtu": int,
    "networkFirewallPolicyEnforcementOrder": str,
    "routingConfig": {
        "routingMode": str,
        "bgpBestPathSelectionMode": str,
        "bgpAlwaysCompareMed": bool,
        "bgpInterRegionCost": str,
    },
    "enableUlaInternalIpv6": bool,
    "internalIpv6Range": str,
    "networkProfile": str,
    "params": ANY,
}

SUBNETWORK: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "network": str,
    "ipCidrRange": str,
    "privateIpGoogleAccess": bool,
    "privateIpv6GoogleAccess": str,
    "purpose": str,
    "role": str,
    "stackType": str,
    "ipv6AccessType": str,
    "enableFlowLogs": bool,
    "allowSubnetCidrRoutesOverlap": bool,
    "logConfig": ANY,
    "secondaryIpRanges": [{"rangeName": str, "ipCidrRange": str, "reservedInternalRange": str}],
    "reservedInternalRange": str,
    "params": ANY,
}

_FIREWALL_RULE = {"IPProtocol": str, "ports": [str]}
FIREWALL: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "network": str,
    "priority": int,
    "direction": str,
    "disabled": bool,
    "allowed": [_FIREWALL_RULE],
    "denied": [_FIREWALL_RULE],
    "sourceRanges": [str],
    "destinationRanges": [str],
    "sourceTags": [str],
    "targetTags": [str],
    "sourceServiceAccounts": [str],
    "targetServiceAccounts": [str],
    "logConfig": {"enable": bool, "metadata": str},
    "params": ANY,
}

_NAT = {
    "name": str,
    "type": str,
    "natIpAllocateOption": str,
    "natIps": [str],
    "initialNatIps": [str],
    "drainNatIps": [str],
    "nat64Subnetworks": [ANY],
    "sourceSubnetworkIpRangesToNat": str,
    "sourceSubnetworkIpRangesToNat64": str,
    "subnetworks": [{"name": str, "sourceIpRangesToNat": [str], "secondaryIpRangeNames": [str]}],
    "minPortsPerVm": int,
    "maxPortsPerVm": int,
    "udpIdleTimeoutSec": int,
    "icmpIdleTimeoutSec": int,
    "tcpEstablishedIdleTimeoutSec": int,
    "tcpTransitoryIdleTimeoutSec": int,
    "tcpTimeWaitTimeoutSec": int,
    "enableEndpointIndependentMapping": bool,
    "enableDynamicPortAllocation": bool,
    "endpointTypes": [str],
    "autoNetworkTier": str,
    "logConfig": {"enable": bool, "filter": str},
    "rules": [ANY],
}
ROUTER: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "network": str,
    "bgp": ANY,
    "bgpPeers": [ANY],
    "interfaces": [ANY],
    "nats": [_NAT],
    "encryptedInterconnectRouter": bool,
    "md5AuthenticationKeys": [ANY],
    "params": ANY,
}

METADATA: dict[str, Any] = _METADATA
ADDRESS: dict[str, Any] = {
    **_OUTPUT,
    "name": str,
    "description": str,
    "address": str,
    "addressType": str,
    "ipVersion": str,
    "labels": TEXTS,
    "network": str,
    "networkTier": str,
    "prefixLength": int,
    "purpose": str,
    "subnetwork": str,
    "users": [str],
}

LABELS: dict[str, Any] = {"labels": TEXTS, "labelFingerprint": str}
TAGS: dict[str, Any] = {"items": [str], "fingerprint": str}

BUCKET: dict[str, Any] = {
    "kind": str,
    "id": str,
    "name": str,
    "location": str,
    "locationType": str,
    "storageClass": str,
    "labels": TEXTS,
    "versioning": {"enabled": bool},
    "lifecycle": {"rule": [{"action": {"type": str, "storageClass": str}, "condition": ANY}]},
    "iamConfiguration": {
        "uniformBucketLevelAccess": {"enabled": bool, "lockedTime": str},
        "bucketPolicyOnly": {"enabled": bool, "lockedTime": str},
        "publicAccessPrevention": str,
    },
    "softDeletePolicy": {"retentionDurationSeconds": int, "effectiveTime": str},
    "retentionPolicy": ANY,
    "defaultEventBasedHold": bool,
    "billing": ANY,
    "cors": [ANY],
    "website": ANY,
    "logging": ANY,
    "encryption": ANY,
    "acl": [ANY],
    "defaultObjectAcl": [ANY],
    "autoclass": ANY,
    "customPlacementConfig": ANY,
    "hierarchicalNamespace": ANY,
    "ipFilter": ANY,
    "objectRetention": ANY,
    "rpo": str,
    "etag": str,
    "selfLink": str,
    "projectNumber": int,
    "generation": int,
    "metageneration": int,
    "timeCreated": str,
    "updated": str,
    "owner": ANY,
}

_BINDING = {"role": str, "members": [str], "condition": ANY}
POLICY: dict[str, Any] = {
    "kind": str,
    "resourceId": str,
    "version": int,
    "etag": str,
    "bindings": [_BINDING],
    "auditConfigs": [ANY],
}

SERVICE_ACCOUNT: dict[str, Any] = {
    "name": str,
    "projectId": str,
    "uniqueId": str,
    "email": str,
    "displayName": str,
    "description": str,
    "etag": str,
    "oauth2ClientId": str,
    "disabled": bool,
}
CREATE_SERVICE_ACCOUNT: dict[str, Any] = {"accountId": str, "serviceAccount": SERVICE_ACCOUNT}
PATCH_SERVICE_ACCOUNT: dict[str, Any] = {"serviceAccount": SERVICE_ACCOUNT, "updateMask": str}
ROLE: dict[str, Any] = {
    "name": str,
    "title": str,
    "description": str,
    "includedPermissions": [str],
    "stage": str,
    "etag": str,
    "deleted": bool,
}
CREATE_ROLE: dict[str, Any] = {"roleId": str, "role": ROLE}
SET_POLICY: dict[str, Any] = {"policy": POLICY, "updateMask": str}
SSH_KEY: dict[str, Any] = {"key": str, "expirationTimeUsec": int, "fingerprint": str, "name": str}
