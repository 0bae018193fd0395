"""All that we use of Pulumi's SDK beyond its stable interface: private names, and public classes used in unintended ways.

``pyproject.toml`` pins the SDK exactly, and ``tests/stacks/test_sdk.py`` shows which of these no longer holds when the pin moves.
What ``infra/settings.py`` reads of ``pulumi.runtime.config`` is tested there too. Heavy to import.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pulumi.automation import LocalWorkspace, OutputMap, PulumiCommand, Stack, UpdateSummary
from pulumi.automation._cmd import CommandResult
from pulumi.automation._stack import StackInitMode
from pulumi.automation.errors import CommandError, create_command_error
from pulumi.runtime import _grpc_settings
from semver import VersionInfo

__all__ = [
    "CommandResult",
    "LeanStack",
    "LeanWorkspace",
    "UncheckedCommand",
    "create_command_error",
    "read_stderr",
    "use_own_connections",
]

STDERR = "\n stderr: "
# In gRPC, channels to one address share its state. An engine gets any free port: if an earlier one had the same port, a new
# engine would count as unreachable without being called, during the back-off that a failed call to the earlier one began.
OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


def use_own_connections() -> None:
    """Make the SDK open a connection of its own to each engine. Does nothing the second time."""
    if OWN_CONNECTION not in _grpc_settings._GRPC_CHANNEL_OPTIONS:
        _grpc_settings._GRPC_CHANNEL_OPTIONS.append(OWN_CONNECTION)


def read_stderr(error: CommandError) -> str:
    """Return the CLI's complaints, from the error's text: the Automation API has them nowhere else."""
    return str(error).partition(STDERR)[2]


class UncheckedCommand(PulumiCommand):
    """A CLI whose version is known: the SDK's own constructor starts it to find out."""

    def __init__(self, command: str, version: VersionInfo) -> None:
        self.command = command
        self.version = version


class LeanWorkspace(LocalWorkspace):
    """A workspace that selects nothing: every call names its stack, and the user's own selection stays as it is."""

    def select_stack(self, stack_name: str) -> None:
        """Do nothing: the call that needs a stack notices if it does not exist."""

    def create_stack(self, stack_name: str) -> None:
        """Create an empty stack."""
        by = ["--secrets-provider", self.secrets_provider] if self.secrets_provider else []
        self._run_pulumi_cmd_sync(["stack", "init", stack_name, "--no-select", *by])


class LeanStack(Stack):
    """A stack whose runs are known from their events alone: an ``up`` or ``destroy`` is one call of the CLI."""

    def __init__(self, name: str, workspace: LeanWorkspace) -> None:
        super().__init__(name, workspace, StackInitMode.SELECT)

    def outputs(self) -> OutputMap:
        """Return nothing: the event stream has them."""
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:
        """Return a stand-in: the history after each run is not read."""
        return UpdateSummary("", datetime.now(UTC), "", {}, {}, "succeeded")
