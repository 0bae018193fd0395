"""The stack ``base`` in a variable: it has the outputs that ``infra/base`` gives it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.model import names
from runner.model.events import Listener
from runner.stacks.contract import EngineLimit, OnProgress, StackSpec

LISTS = ("ssh_ranges", "operators")


def outputs_of_base(**more: Any) -> dict[str, Any]:
    """The outputs of a base of this version."""
    role = {"self_delete_role": "r", "self_delete_condition": names.self_delete_condition()}
    return {"region": "europe-west4", **role, **more}


@dataclass(kw_only=True)
class StackOfBase:
    """``ups``: the settings of each update."""

    now: dict[str, Any] | None = None
    ups: list[dict[str, Any]] = field(default_factory=list)

    def outputs(self, project: str, name: str) -> Mapping[str, object] | None:
        assert (project, name) == ("base", names.BASE_STACK)
        return self.now

    def up(self, spec: StackSpec, on_progress: OnProgress, *, limit: EngineLimit | None = None) -> Mapping[str, object]:
        prefix = f"{names.CONFIG_NAMESPACE}:"
        texts = {key.removeprefix(prefix): text for key, text in spec.config.items() if key.startswith(prefix)}
        settings = {key: json.loads(text) if key in LISTS else text for key, text in texts.items()}
        self.ups.append(settings)
        self.now = outputs_of_base(region=spec.config["gcp:region"], settings=settings)
        return self.now


@dataclass
class Person:
    """Answers every question alike, and remembers them."""

    answer: bool = True
    asked: list[str] = field(default_factory=list)

    @property
    def listener(self) -> Listener:
        return Listener(on_confirm=self._confirm)

    def _confirm(self, question: str) -> bool:
        self.asked.append(question)
        return self.answer
