"""Pulumi stacks: their desired state, the engine that applies it, and its files, locks and errors.

No resource is declared here (``infra`` does that), and nothing decides about a batch. ``stacks.engine`` and ``stacks.sdk`` load
Pulumi's SDK: import them late, as modules. ``stacks.pulumi`` does so itself.
"""

from runner.stacks.contract import EngineLimit, ProjectName, Stacks, StackSpec
from runner.stacks.passphrase import known_passphrase, own_passphrase, shared_passphrase
from runner.stacks.progress import report_stack_progress
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
    "report_stack_progress",
    "shared_passphrase",
]
