"""Outputs that are known in advance (previews), and inputs that follow from a state (refresh, import)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.emulator.provider.check import DEFAULTS
from runner.emulator.provider.diff import compare
from runner.emulator.provider.resource import ResourceType, Settings, plan_labels
from runner.emulator.provider.schema import Field, Kind
from runner.emulator.provider.values import UNKNOWN, Properties, prune


def plan_create(kind: ResourceType, news: Properties, settings: Settings) -> Properties:
    """Return the outputs of a resource before it exists: the given inputs, and unknowns for properties that the cloud will fill."""
    return _plan_object(kind.fields, prune(news)) | _planned_labels(kind, settings, news, {})


def plan_update(kind: ResourceType, olds: Properties, news: Properties, settings: Settings) -> Properties:
    """Return the outputs after an update: the current ones, overwritten by the given inputs."""
    given = prune(news)
    kept = {
        name: olds[name]
        for name, declared in kind.fields.items()
        if name in olds and (name in given or declared.computed)
    }
    merged = {name: _overlay(declared, kept.get(name), given.get(name)) for name, declared in kind.fields.items()}
    return {name: value for name, value in merged.items() if value is not None} | _planned_labels(
        kind, settings, given, olds
    )


def _planned_labels(kind: ResourceType, settings: Settings, news: Properties, olds: Properties) -> Properties:
    if "labels" not in kind.fields:
        return {}
    planned = plan_labels(settings, prune(news), olds)
    ours, there = planned if planned is not None else (UNKNOWN, UNKNOWN)
    return {"pulumiLabels": ours, "effectiveLabels": there}


def _plan_object(fields: Mapping[str, Field], given: Properties) -> Properties:
    planned = {name: _plan_value(declared, given.get(name)) for name, declared in fields.items()}
    return {name: value for name, value in planned.items() if value is not None}


def _plan_value(declared: Field, given: Any) -> Any:
    if given is None:
        return UNKNOWN if declared.computed else None
    if declared.kind is Kind.BLOCK and isinstance(given, dict):
        return _plan_object(declared.fields, given)
    if declared.item is not None and declared.item.kind is Kind.BLOCK and isinstance(given, list):
        return [_plan_value(declared.item, item) for item in given]
    return given


def _overlay(declared: Field, old: Any, new: Any) -> Any:
    if new is None:
        return old
    if declared.kind is Kind.BLOCK and isinstance(old, dict) and isinstance(new, dict):
        merged = {name: _overlay(inner, old.get(name), new.get(name)) for name, inner in declared.fields.items()}
        return {name: value for name, value in merged.items() if value is not None}
    if declared.kind is Kind.LIST and isinstance(old, list) and isinstance(new, list) and declared.item is not None:
        padded = [*old, *([None] * len(new))]
        return [_overlay(declared.item, padded[at], item) for at, item in enumerate(new)]
    return new


def inputs_from_state(kind: ResourceType, state: Properties, old_inputs: Properties) -> Properties:
    """Return the inputs that would give ``state``: the old ones where they still agree with it, else values of the state.

    Without old inputs (an import), return every property of the state that a program may set.
    """
    if not old_inputs:
        return _settable_part(kind.fields, state)
    inputs: Properties = {}
    for name, given in old_inputs.items():
        declared = kind.fields.get(name)
        if declared is None or not compare(declared, state.get(name), prune(given), name):
            inputs[name] = given
        elif state.get(name) is not None:
            inputs[name] = _settable_value(declared, state[name])
    kept = [name for name in old_inputs.get(DEFAULTS, []) if name in inputs]
    return inputs | ({DEFAULTS: kept} if kept else {})


def _settable_part(fields: Mapping[str, Field], state: Properties) -> Properties:
    named = (
        (name, declared) for name, declared in fields.items() if not declared.output and state.get(name) is not None
    )
    return {name: _settable_value(declared, state[name]) for name, declared in named}


def _settable_value(declared: Field, value: Any) -> Any:
    if declared.kind is Kind.BLOCK and isinstance(value, dict):
        return _settable_part(declared.fields, value)
    if declared.item is not None and declared.item.kind is Kind.BLOCK and isinstance(value, list):
        return [_settable_value(declared.item, item) for item in value]
    return value
