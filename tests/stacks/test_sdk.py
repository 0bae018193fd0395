"""Our use of Pulumi's SDK beyond its stable interface. When one of these fails after the pin was moved, its message says what to adapt."""

from __future__ import annotations

import importlib.metadata
import inspect
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.automation import LocalWorkspace, PulumiCommand, Stack
from pulumi.automation import errors as sdk_errors
from pulumi.runtime import _grpc_settings
from pulumi.runtime.settings import Settings

from runner.stacks import sdk
from runner.stacks.engine import OLDEST_CLI, EngineCommand
from tests.infra.engine import ROOT

FILE = "runner/stacks/sdk.py"


class RecordingCommand(sdk.UncheckedCommand):
    """A CLI that records its arguments, and does nothing."""

    def __init__(self) -> None:
        super().__init__("pulumi", OLDEST_CLI)
        self.asked: list[list[str]] = []

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> sdk.CommandResult:
        self.asked.append(args)
        return sdk.CommandResult(stdout="", stderr="", code=0)


@pytest.fixture
def command() -> RecordingCommand:
    return RecordingCommand()


@pytest.fixture
def workspace(tmp_path: Path, command: RecordingCommand) -> sdk.LeanWorkspace:
    (tmp_path / "Pulumi.yaml").write_text("name: p\nruntime: python\n")
    return sdk.LeanWorkspace(work_dir=str(tmp_path), pulumi_command=command)


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_sdk_is_the_one_that_is_pinned() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    installed = importlib.metadata.version("pulumi")
    assert f"pulumi=={installed}" in wanted, (
        f"pyproject.toml must pin pulumi exactly, to what is installed ({installed}), because of {FILE}"
    )


def test_a_command_is_run_as_before() -> None:
    assert parameters(EngineCommand.run) == parameters(PulumiCommand.run), (
        "PulumiCommand.run takes other arguments: EngineCommand.run in runner/stacks/engine.py must take the same"
    )
    read = set(PulumiCommand.__annotations__)
    assert read == {"command", "version"}, (
        f"PulumiCommand has other attributes ({read}): UncheckedCommand in {FILE} must set them all"
    )


def test_stacks_and_workspaces_are_created_as_before() -> None:
    assert parameters(Stack.__init__) == ["self", "name", "workspace", "mode"], (
        f"Stack.__init__ takes other arguments: see LeanStack in {FILE}"
    )
    for base, ours in ((Stack, sdk.LeanStack), (LocalWorkspace, sdk.LeanWorkspace)):
        for name in set(vars(ours)) - {"__init__"}:
            if inspect.isfunction(vars(ours)[name]):
                assert parameters(getattr(base, name, ours.__init__)) == parameters(getattr(ours, name)), (
                    f"{base.__name__}.{name} is missing or has other arguments: see {ours.__name__} in {FILE}"
                )


def test_selecting_makes_no_call_and_creating_makes_one(
    workspace: sdk.LeanWorkspace, command: RecordingCommand
) -> None:
    sdk.LeanStack("b1", workspace)
    assert command.asked == [], "Stack.__init__ calls the CLI in another way than by Workspace.select_stack"
    workspace.create_stack("b1")
    assert command.asked == [["stack", "init", "b1", "--no-select"]], (
        f"LocalWorkspace._run_pulumi_cmd_sync does not hand on its words: see LeanWorkspace.create_stack in {FILE}"
    )


@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_a_run_is_one_call_of_the_cli(workspace: sdk.LeanWorkspace, command: RecordingCommand, verb: str) -> None:
    stack = sdk.LeanStack("b1", workspace)
    getattr(stack, verb)(continue_on_error=True, suppress_outputs=True, refresh=True)
    assert [words[0] for words in command.asked] == [verb], (
        f"Stack.{verb} asks the CLI more than once (each time costs half a second): override in LeanStack in {FILE} what it asks for"
    )
    wanted = {"--yes", "--continue-on-error", "--suppress-outputs", "--refresh"}
    assert wanted <= set(command.asked[0]), f"Stack.{verb} hands on its options in another way"
    assert command.asked[0][command.asked[0].index("--stack") + 1] == "b1"


@pytest.mark.parametrize(
    ("complaint", "kind"),
    [
        ("error: no stack named 'b1' found", sdk_errors.StackNotFoundError),
        ("error: stack 'b1' already exists", sdk_errors.StackAlreadyExistsError),
        ("error: the stack is currently locked by 1 lock(s).", sdk_errors.ConcurrentUpdateError),
        ("error: something else", sdk_errors.CommandError),
    ],
)
def test_errors_are_distinguished_by_the_text_on_stderr(complaint: str, kind: type[Exception]) -> None:
    error = sdk.create_command_error(sdk.CommandResult(stdout="output", stderr=complaint, code=255))
    assert type(error) is kind, f"create_command_error takes {complaint!r} for something else"
    assert sdk.read_stderr(error) == complaint, (
        f"the text of a CommandError has another form: see read_stderr in {FILE}"
    )


def test_channels_to_engines_are_opened_with_our_option(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk.use_own_connections()
    sdk.use_own_connections()
    assert _grpc_settings._GRPC_CHANNEL_OPTIONS.count(sdk.OWN_CONNECTION) == 1
    given: list[Any] = []
    monkeypatch.setattr("grpc.insecure_channel", lambda address, options: given.extend(options))
    with pytest.raises(AttributeError):  # there is no channel
        Settings("p", "s", engine="127.0.0.1:1")
    assert sdk.OWN_CONNECTION in given, (
        f"the SDK does not open its channels with pulumi.runtime._grpc_settings any more: see use_own_connections in {FILE}"
    )


def test_all_settings_of_a_stack_can_be_read() -> None:
    found = pulumi.runtime.config.get_config_env() | pulumi.runtime.config.CONFIG.get()
    assert isinstance(found, dict), "pulumi.runtime.config is another one: see load_settings in infra/settings.py"
