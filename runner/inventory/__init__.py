"""What exists in the cloud that is ours, found by label and name, and sweeps of it.

Nothing here decides what may go, that is ``model.leftover``'s, or asks anybody.
"""

from runner.inventory.compute import COLLECTIONS, LabelledCompute, OurNetwork, scope_of
from runner.inventory.grants import OurGrant
from runner.inventory.identity import OurAccounts, OurKeys, OurRole
from runner.inventory.inventory import CloudInventory, DryInventory, Inventory, Unread
from runner.inventory.stacks import RememberedStacks
from runner.inventory.storage import OurStorage
from runner.inventory.sweep import Agreement, Removal, SweepReport, leftover_error, remove_items, sweep, sweep_agreed

__all__ = [
    "COLLECTIONS",
    "Agreement",
    "CloudInventory",
    "DryInventory",
    "Inventory",
    "LabelledCompute",
    "OurAccounts",
    "OurGrant",
    "OurKeys",
    "OurNetwork",
    "OurRole",
    "OurStorage",
    "RememberedStacks",
    "Removal",
    "SweepReport",
    "Unread",
    "leftover_error",
    "remove_items",
    "scope_of",
    "sweep",
    "sweep_agreed",
]
