"""Identifies callers and decides what they may do: roles, permissions, conditions, the owner.

The APIs that change policies are in ``identity``.
"""

from runner.emulator.iam.access import ACCOUNTS, POLICIES, ROLES, Access, Caller
from runner.emulator.iam.conditions import compile_condition
from runner.emulator.iam.peers import is_own_connection
from runner.emulator.iam.permissions import check_permissions, expand
from runner.emulator.iam.roles import ROLE_PERMISSIONS

__all__ = [
    "ACCOUNTS",
    "POLICIES",
    "ROLES",
    "ROLE_PERMISSIONS",
    "Access",
    "Caller",
    "check_permissions",
    "compile_condition",
    "expand",
    "is_own_connection",
]
