"""The lease of a batch in the bucket, kept and lost.

What a lease says is ``model.lease``'s; nothing here creates or deletes VMs.
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
