"""Our resources in the cloud, found by label and name, and sweeps of them.

Nothing here decides what may be removed, which ``model.leftover`` does, or asks the user.
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
