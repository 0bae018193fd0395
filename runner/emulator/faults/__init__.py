"""The board on which faults are asked for, and whether one hits now.

What a fault does is done where it hits; those that come by themselves are in ``control.scenario``.
"""

from runner.emulator.faults.board import ACTS, GUEST_KINDS, KINDS, Faults, check_fault, check_pattern
from runner.emulator.faults.fault_table import put_tables

__all__ = [
    "ACTS",
    "GUEST_KINDS",
    "KINDS",
    "Faults",
    "check_fault",
    "check_pattern",
    "put_tables",
]
