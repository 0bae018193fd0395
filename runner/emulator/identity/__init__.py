"""The APIs of IAM, OS Login and Service Usage.

What follows from a policy is decided in ``iam``.
"""

from runner.emulator.identity.condition_rules import VERSION, requested_version
from runner.emulator.identity.iam import (
    CustomRoles,
    ProjectPolicy,
    ServiceAccounts,
    policy_document,
    put_default_account,
    replace_policy,
)
from runner.emulator.identity.os_login import OsLogin, posix_name, valid_keys
from runner.emulator.identity.service_usage import ServiceUsage, is_switched_off, put_enabled_services

__all__ = [
    "VERSION",
    "CustomRoles",
    "OsLogin",
    "ProjectPolicy",
    "ServiceAccounts",
    "ServiceUsage",
    "is_switched_off",
    "policy_document",
    "posix_name",
    "put_default_account",
    "put_enabled_services",
    "replace_policy",
    "requested_version",
    "valid_keys",
]
