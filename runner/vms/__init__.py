"""One VM from its declaration to its first answer, where the next one is asked for, and the guard that sees VMs gone.

Nothing here knows of jobs, or of what else a batch has.
"""

from runner.vms.boot import SSH_LIMIT_S, wait_for_host_keys
from runner.vms.guard import Vm, VMGuard
from runner.vms.placement import PlaceFinder

__all__ = [
    "SSH_LIMIT_S",
    "PlaceFinder",
    "VMGuard",
    "Vm",
    "wait_for_host_keys",
]
