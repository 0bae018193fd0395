"""The real Pulumi engine, driven by the Automation API with inline programs, attached to a provider that runs.

An engine run costs half a second of processor time and each look at its results as much, so results are read from the
state's file, and stacks that have become empty are used again.
"""

from __future__ import annotations

import gc
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi import automation
from pulumi.automation import ConfigValue, OutputMap, OutputValue, UpdateSummary
from pulumi.automation._stack import StackInitMode

Json = dict[str, Any]
Program = Callable[[], object]
Resources = dict[tuple[str, str], Json]

_PROJECT = "tests"
_ROOT_TYPE = "pulumi:pulumi:Stack"
_NOT_ASKED = UpdateSummary("", datetime.fromtimestamp(0, UTC), "", {}, {}, "")


class LeanStack(automation.Stack):
    """A stack whose actions end when the engine does: the SDK would start the CLI three times more, for outputs and history."""

    def __init__(self, name: str, workspace: automation.LocalWorkspace, state_file: Path) -> None:
        self._state_file = state_file
        super().__init__(name, workspace, StackInitMode.CREATE)

    def outputs(self) -> OutputMap:
        """What the program exported, as the state holds it (secrets stay secret)."""
        roots = [found for found in self.state() if found["type"] == _ROOT_TYPE]
        exported: Json = roots[0].get("outputs", {}) if roots else {}
        return {key: OutputValue(value, secret=False) for key, value in exported.items()}

    def revealed_outputs(self) -> OutputMap:
        """What the program exported, secrets in plain text and known as such."""
        return super().outputs()

    def info(self, show_secrets: bool = True) -> UpdateSummary:
        """Nothing: no test looks at it."""
        return _NOT_ASKED

    def state(self) -> list[Json]:
        """All resources in the stack's state."""
        latest = json.loads(self._state_file.read_text())["checkpoint"]["latest"] or {}
        resources: list[Json] = latest.get("resources", [])
        return resources


class Engine:
    """Stacks in a folder of their own."""

    def __init__(self, folder: Path, command: automation.PulumiCommand, provider_port: int) -> None:
        self._folder = folder
        self._command = command
        self._provider_port = provider_port
        self._made = 0
        self._empty: list[LeanStack] = []

    @contextmanager
    def running(self, program: Program, config: Mapping[str, str] | None = None) -> Iterator[LeanStack]:
        """A stack that has nothing at the start and nothing left at the end, whatever happened. ``config``: its settings."""
        stack = self._empty.pop() if self._empty and config is None else self._make_stack(config or {})
        stack.workspace.program = program
        try:
            yield stack
        finally:
            if resources_of(stack):
                stack.destroy(refresh=True)
        if config is None:
            self._empty.append(stack)

    def _make_stack(self, config: Mapping[str, str]) -> LeanStack:
        name, self._made = f"s{self._made}", self._made + 1
        work_dir = self._folder / name
        work_dir.mkdir()
        values = {key: ConfigValue(value) for key, value in config.items()}
        workspace = automation.LocalWorkspace(
            work_dir=str(work_dir),
            project_settings=automation.ProjectSettings(_PROJECT, "python", main=str(work_dir)),
            stack_settings={name: automation.StackSettings(config=values)},
            env_vars={
                "PULUMI_BACKEND_URL": f"file://{self._folder}",
                "PULUMI_CONFIG_PASSPHRASE": "for tests",
                "PULUMI_DEBUG_PROVIDERS": f"gcp:{self._provider_port}",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "PULUMI_HOME": str(self._folder),
                "PULUMI_SKIP_UPDATE_CHECK": "1",
            },
            pulumi_command=self._command,
        )
        return LeanStack(name, workspace, self._folder / ".pulumi" / "stacks" / _PROJECT / f"{name}.json")


def failure_of(action: Callable[..., object], **options: Any) -> str:
    """What the user sees when an action fails."""
    told = ""
    try:
        action(**options)
    except automation.CommandError as error:
        told = str(error)
    _collect_quietly()
    assert told, "it did not fail"
    return told


def _collect_quietly() -> None:
    """When an inline program fails, Pulumi's SDK leaves its event loop and a coroutine behind: let them go without noise."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = hook


def resources_of(stack: LeanStack) -> Resources:
    """What the stack's state has of the cloud, by type and name: outputs as the state holds them (secrets stay secret)."""
    custom = [found for found in stack.state() if found["type"].startswith("gcp:")]
    return {(found["type"].rsplit(":", 1)[1], found["urn"].rsplit("::", 1)[1]): found for found in custom}


def planned(result: automation.PreviewResult) -> dict[str, int]:
    """What a preview plans, without what stays as it is."""
    summary = result.change_summary
    return {
        str(getattr(kind, "value", kind)): count for kind, count in summary.items() if count and "same" not in str(kind)
    }
