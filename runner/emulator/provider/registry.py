"""All types and functions of the embedded cloud."""

from __future__ import annotations

from runner.emulator.provider import (
    compute_disk,
    compute_instance,
    compute_network,
    compute_router,
    iam_members,
    identity,
    project_settings,
    storage,
)
from runner.emulator.provider.functions import FUNCTIONS, Function
from runner.emulator.provider.resource import ProviderError, ResourceType

TYPES = {
    kind.token: kind
    for kind in (
        compute_disk.DISK,
        compute_disk.IMAGE,
        compute_instance.INSTANCE,
        compute_network.FIREWALL,
        compute_network.NETWORK,
        compute_network.SUBNETWORK,
        compute_router.ROUTER,
        compute_router.ROUTER_NAT,
        iam_members.ACCOUNT_IAM_MEMBER,
        iam_members.BUCKET_IAM_MEMBER,
        iam_members.INSTANCE_IAM_MEMBER,
        iam_members.PROJECT_IAM_MEMBER,
        identity.ACCOUNT,
        identity.CUSTOM_ROLE,
        identity.SSH_PUBLIC_KEY,
        project_settings.PROJECT_METADATA_ITEM,
        project_settings.SERVICE,
        storage.BUCKET,
        storage.BUCKET_OBJECT,
    )
}


def find_type(token: str) -> ResourceType:
    """Return the type of this token. Raises ProviderError with a list of all types."""
    if token not in TYPES:
        raise ProviderError(f"The embedded cloud has no resource type {token!r}. It has: {', '.join(sorted(TYPES))}.")
    return TYPES[token]


def find_function(token: str) -> Function:
    """Return the function of this token. Raises ProviderError with a list of all functions."""
    if token not in FUNCTIONS:
        raise ProviderError(f"The embedded cloud has no function {token!r}. It has: {', '.join(sorted(FUNCTIONS))}.")
    return FUNCTIONS[token]
