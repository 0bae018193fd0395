"""One VM from its declaration to its first answer, the place where the next one is requested, and the guard that sees VMs deleted.

Nothing here knows of jobs, or of the other parts of a batch.
"""

from runner.vms.boot import SSH_LIMIT_S, wait_for_host_keys
from runner.vms.guard import Vm, VMGuard
from runner.vms.placement import PlacementFinder

__all__ = [
    "SSH_LIMIT_S",
    "PlacementFinder",
    "VMGuard",
    "Vm",
    "wait_for_host_keys",
]
