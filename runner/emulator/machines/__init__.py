"""The emulated machines beneath the Compute API's instances: disks, processes, SSH servers and metadata servers.

Nothing here knows of the Compute API: everything that an instance needs comes through ``interface``.
"""

from runner.emulator.machines.disks import clone_root, copy_image_root, make_base_root, remove_root, seal_root
from runner.emulator.machines.hypervisor import LocalHypervisor
from runner.emulator.machines.interface import LoginUser, MachineSpec

__all__ = [
    "LocalHypervisor",
    "LoginUser",
    "MachineSpec",
    "clone_root",
    "copy_image_root",
    "make_base_root",
    "remove_root",
    "seal_root",
]
