"""The settings of a VM, from its metadata."""

from __future__ import annotations

from dataclasses import dataclass

from .shared_names import VM_BATCH, VM_BUCKET, VM_GRACE_S, VM_LEASE_S, VM_LOOK_S, VM_PUSH_S
from .vm_cloud import Metadata

LONGEST_LOOK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class VmSettings:
    """``lease_s``: 0 if no lease is to be watched. ``grace_s``: how long a lease may be missing after boot, or unreadable at
    any time. ``look_s``: how often it is read. ``push_s``: how long results that cannot be pushed delay the VM's deletion.
    """

    batch: str
    bucket: str
    lease_s: float
    grace_s: float
    look_s: float
    push_s: float


def read_settings(metadata: Metadata) -> VmSettings:
    """Read the settings; a value that is not a number of seconds counts as not set. Raises UnreachableError."""
    lease_s = _seconds(metadata, VM_LEASE_S, 0.0)
    return VmSettings(
        batch=metadata.attribute(VM_BATCH),
        bucket=metadata.attribute(VM_BUCKET),
        lease_s=lease_s,
        grace_s=_seconds(metadata, VM_GRACE_S, lease_s),
        look_s=_seconds(metadata, VM_LOOK_S, min(LONGEST_LOOK_S, lease_s / 6)),
        push_s=_seconds(metadata, VM_PUSH_S, 1800.0),
    )


def _seconds(metadata: Metadata, name: str, otherwise: float) -> float:
    try:
        return max(0.0, float(metadata.attribute(name)))
    except ValueError:
        return otherwise
