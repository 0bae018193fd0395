"""Pulumi stacks: what they shall be, the engine that makes them so, and its files, locks and errors.

No resource is declared here, that is ``infra``'s, and nothing decides what becomes of a batch. ``stacks.pulumi`` and
``stacks.program`` load Pulumi's SDK: import them late, as modules.
"""

from runner.stacks.contract import EngineLimit, ProjectName, Stacks, StackSpec
from runner.stacks.passphrase import known_passphrase, own_passphrase, shared_passphrase
from runner.stacks.progress import tell_stack_progress
from runner.stacks.records import StackRecords, removal_command

__all__ = [
    "EngineLimit",
    "ProjectName",
    "StackRecords",
    "StackSpec",
    "Stacks",
    "known_passphrase",
    "own_passphrase",
    "removal_command",
    "shared_passphrase",
    "tell_stack_progress",
]
