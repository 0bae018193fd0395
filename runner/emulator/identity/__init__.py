"""The APIs of IAM, OS Login and Service Usage.

``iam`` decides what the policies allow.
"""

from runner.emulator.identity.condition_rules import VERSION, requested_version
from runner.emulator.identity.os_login import OsLogin, posix_name, valid_keys
from runner.emulator.identity.policies import policy_document, replace_policy
from runner.emulator.identity.project import ProjectPolicy
from runner.emulator.identity.roles import CustomRoles
from runner.emulator.identity.service_accounts import ServiceAccounts, put_default_account
from runner.emulator.identity.service_usage import ServiceUsage, is_disabled, put_enabled_services

__all__ = [
    "VERSION",
    "CustomRoles",
    "OsLogin",
    "ProjectPolicy",
    "ServiceAccounts",
    "ServiceUsage",
    "is_disabled",
    "policy_document",
    "posix_name",
    "put_default_account",
    "put_enabled_services",
    "replace_policy",
    "requested_version",
    "valid_keys",
]
