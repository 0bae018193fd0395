"""The emulated instances: their disks, processes, SSH servers and metadata servers.

Nothing here knows of the Compute API: what a machine is told comes through ``seam``.
"""

from runner.emulator.machines.disks import clone_root, copy_image_root, make_base_root, remove_root, seal_root
from runner.emulator.machines.room import MachineRoom
from runner.emulator.machines.seam import LoginUser, MachineSpec

__all__ = [
    "LoginUser",
    "MachineRoom",
    "MachineSpec",
    "clone_root",
    "copy_image_root",
    "make_base_root",
    "remove_root",
    "seal_root",
]
