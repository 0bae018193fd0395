"""The registry of armed faults, which decides whether one hits now.

The code that a fault hits carries out its effect; ``control.scenario`` arms faults at planned times or events.
"""

from runner.emulator.faults.fault_table import put_tables
from runner.emulator.faults.registry import ACTS, GUEST_KINDS, KINDS, Faults, check_fault, check_pattern

__all__ = [
    "ACTS",
    "GUEST_KINDS",
    "KINDS",
    "Faults",
    "check_fault",
    "check_pattern",
    "put_tables",
]
