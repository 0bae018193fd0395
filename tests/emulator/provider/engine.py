"""The real Pulumi engine, run by its CLI on programs of the test's process, attached to a running provider.

Each start of the CLI costs half a second of processor time. So an action is one start (with the SDK's ``Stack`` it is four),
its result is read from the file of the state, and a stack that has become empty is used again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import CommandError, PulumiCommand

from runner.stacks.program import Program

from .host import host_program

Json = dict[str, Any]
Resources = dict[tuple[str, str], Json]

_PROJECT = "tests"
_ROOT_TYPE = "pulumi:pulumi:Stack"


class Stack:
    """A stack. ``program`` may be replaced before each action. A failed action raises CommandError."""

    def __init__(self, name: str, site: Path, command: PulumiCommand, env: Mapping[str, str]) -> None:
        self.program: Program
        self._name = name
        self._work_dir = site / name
        self._state_file = site / ".pulumi" / "stacks" / _PROJECT / f"{name}.json"
        self._event_log = site / name / "events.jsonl"
        self._command = command
        self._env = env

    def create(self, config: Mapping[str, str]) -> None:
        """Create it, with settings."""
        self._work_dir.mkdir()
        (self._work_dir / "Pulumi.yaml").write_text(json.dumps({"name": _PROJECT, "runtime": "python"}))
        (self._work_dir / f"Pulumi.{self._name}.yaml").write_text(json.dumps({"config": dict(config)}))
        self._run("stack", "init")

    def preview(self, *, refresh: bool = False) -> dict[str, int]:
        """Return the number of each kind of change that an ``up`` would do, without unchanged resources."""
        self._event_log.unlink(missing_ok=True)
        flags = ["--refresh"] if refresh else []
        self._run("preview", *flags, "--event-log", str(self._event_log), program=self.program)
        events = [json.loads(line) for line in self._event_log.read_text().splitlines()]
        (changes,) = [event["summaryEvent"]["resourceChanges"] for event in events if "summaryEvent" in event]
        return {verb: count for verb, count in changes.items() if count and verb != "same"}

    def up(self, *, refresh: bool = False, go_on: bool = False) -> None:
        """Run ``up``. ``go_on``: a resource that fails does not stop the others."""
        self._run("up", "--yes", "--skip-preview", *_flags(refresh, go_on), program=self.program)

    def refresh(self) -> None:
        """Refresh the state. (Neither this nor ``destroy`` runs a program, but without a host the CLI would start Python.)"""
        self._run("refresh", "--yes", "--skip-preview", program=self.program)

    def destroy(self, *, refresh: bool = False, go_on: bool = False) -> None:
        """Delete all resources in it."""
        self._run("destroy", "--yes", "--skip-preview", *_flags(refresh, go_on), program=self.program)

    def outputs(self) -> Json:
        """Return the program's exports, as the state has them (secrets stay secret)."""
        return next((dict(found.get("outputs", {})) for found in self._state() if found["type"] == _ROOT_TYPE), {})

    def revealed_outputs(self) -> Json:
        """Return the program's exports, secrets as plain text."""
        return dict(json.loads(self._run("stack", "output", "--json", "--show-secrets")))

    def resources(self) -> Resources:
        """Return the cloud resources in its state, by type and name (secrets stay secret)."""
        custom = [found for found in self._state() if found["type"].startswith("gcp:")]
        return {(found["type"].rsplit(":", 1)[1], found["urn"].rsplit("::", 1)[1]): found for found in custom}

    def _state(self) -> list[Json]:
        latest: Json = json.loads(self._state_file.read_text())["checkpoint"]["latest"] or {}
        return list(latest.get("resources", []))

    def _run(self, *args: str, program: Program | None = None) -> str:
        with host_program(program) if program else nullcontext() as port:
            client = [f"--client=127.0.0.1:{port}", "--exec-kind", "auto.inline"] if port else []
            done = self._command.run([*args, *client, "--stack", self._name], str(self._work_dir), self._env)
        return done.stdout


class Engine:
    """Stacks in a folder of their own."""

    def __init__(self, site: Path, command: PulumiCommand, provider_port: int) -> None:
        self._site = site
        self._command = command
        self._made = 0
        self._empty: list[Stack] = []
        self._env = {
            "PULUMI_BACKEND_URL": f"file://{site}",
            "PULUMI_CONFIG_PASSPHRASE": "for tests",
            "PULUMI_DEBUG_COMMANDS": "true",  # without it there is no event log
            "PULUMI_DEBUG_PROVIDERS": f"gcp:{provider_port}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(site),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
        }

    @contextmanager
    def running(self, program: Program, config: Mapping[str, str] | None = None) -> Iterator[Stack]:
        """Yield an empty stack, and leave nothing of it at the end, whatever happens. ``config``: settings of the stack."""
        stack = self._empty.pop() if self._empty and config is None else self._make_stack(config or {})
        stack.program = program
        try:
            yield stack
        finally:
            if stack.resources():
                stack.destroy(refresh=True)
        if config is None:
            self._empty.append(stack)

    def _make_stack(self, config: Mapping[str, str]) -> Stack:
        stack = Stack(f"s{self._made}", self._site, self._command, self._env)
        self._made += 1
        stack.create(config)
        return stack


def failure_of(action: Callable[..., object], **options: bool) -> str:
    """Return the output of an action that fails."""
    with pytest.raises(CommandError) as caught:
        action(**options)
    return str(caught.value)


def _flags(refresh: bool, go_on: bool) -> list[str]:
    return ["--refresh"] * refresh + ["--continue-on-error"] * go_on
