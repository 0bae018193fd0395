"""The lease of a batch in the bucket, kept, renewed and lost.

The content of a lease is defined in ``model.lease``; nothing here creates or deletes VMs.
"""

from runner.lease.keeper import (
    LeaseCheck,
    LeaseEvents,
    LeaseKeeper,
    LeaseTerms,
    WatchedError,
    change_lease,
    read_lease,
    read_preempted,
    taken_over,
)

__all__ = [
    "LeaseCheck",
    "LeaseEvents",
    "LeaseKeeper",
    "LeaseTerms",
    "WatchedError",
    "change_lease",
    "read_lease",
    "read_preempted",
    "taken_over",
]
