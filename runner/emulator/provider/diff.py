"""Differences between a state and new inputs, and whether they need an update or a replacement.

The rules are those of the stock plugin: the old side is the last known state, so drift is shown; a property that the program
does not set is left alone if the cloud fills it, else it should be empty; empty and absent are the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from runner.emulator.provider.check import DEFAULTS
from runner.emulator.provider.resource import ResourceType, Settings, plan_labels
from runner.emulator.provider.schema import Field, Kind
from runner.emulator.provider.values import UNKNOWN, Asset, Properties, has_unknown, prune


class Verb(Enum):
    """The kind of change of a property."""

    ADD = "ADD"
    DELETE = "DELETE"
    UPDATE = "UPDATE"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One property that differs. ``path`` is dotted, with indices in brackets."""

    path: str
    verb: Verb
    replace: bool = False

    @property
    def top(self) -> str:
        """The name of the top-level property."""
        return self.path.split(".")[0].split("[")[0]


def diff_resource(kind: ResourceType, olds: Properties, news: Properties, settings: Settings) -> list[Change]:
    """All changes, in the order of the table."""
    given = prune(news)
    changes: list[Change] = []
    for name, declared in kind.fields.items():
        new = given.get(name)
        if new is None and declared.follows:
            new = settings.location(declared.follows) or None
        if not declared.output:
            changes += compare(declared, olds.get(name), new, name)
    if "labels" in kind.fields and not any(change.top == "labels" for change in changes):
        changes += _diff_our_labels(settings, given, olds)
    found = {change.path for change in changes}
    drifted = [path for path in kind.operations.drift(olds, given) if path not in found]
    return changes + [Change(path=path, verb=Verb.UPDATE) for path in drifted]


def _diff_our_labels(settings: Settings, news: Properties, olds: Properties) -> list[Change]:
    planned = plan_labels(settings, news, olds)
    if planned is None or planned[0] == olds.get("pulumiLabels", {}):
        return []
    return [Change(path="pulumiLabels", verb=Verb.UPDATE)]


def needs_delete_first(kind: ResourceType, olds: Properties, old_inputs: Properties, news: Properties) -> bool:
    """Return whether the new resource would have the old one's name. (Generated names are generated anew.)"""
    for name, declared in kind.fields.items():
        made_up = name in news.get(DEFAULTS, []) or name in old_inputs.get(DEFAULTS, [])
        if declared.auto_named and not made_up and news.get(name) == olds.get(name):
            return True
    return False


def compare(declared: Field, old: Any, new: Any, path: str) -> list[Change]:
    """Return the changes from ``old`` (state) to ``new`` (input) of one property."""
    if new is None:
        return _compare_with_nothing(declared, old, path)
    if new is UNKNOWN:
        return [Change(path=path, verb=Verb.ADD if old is None else Verb.UPDATE, replace=declared.replace)]
    if declared.same is not None and old is not None and not has_unknown(new) and declared.same(old, new):
        return []
    match declared.kind:
        case Kind.BLOCK:
            return _compare_blocks(declared, old, new, path)
        case Kind.LIST:
            return _compare_lists(declared, old or [], new, path)
        case Kind.MAP:
            return _compare_maps(declared, old or {}, new, path)
        case _:
            return _compare_whole(declared, old, new, path)


def _compare_with_nothing(declared: Field, old: Any, path: str) -> list[Change]:
    if declared.computed or not old or old == declared.default:
        return []
    return [Change(path=path, verb=Verb.DELETE, replace=declared.replace)]


def _compare_blocks(declared: Field, old: Any, new: Properties, path: str) -> list[Change]:
    if old is None:
        replace = declared.replace or any(inner.replace and name in new for name, inner in declared.fields.items())
        return [Change(path=path, verb=Verb.ADD, replace=replace)]
    return [
        change
        for name, inner in declared.fields.items()
        if not inner.output
        for change in compare(inner, old.get(name), new.get(name), f"{path}.{name}")
    ]


def _compare_lists(declared: Field, old: Sequence[Any], new: Sequence[Any], path: str) -> list[Change]:
    both = min(len(old), len(new))
    changes = [change for at in range(both) for change in compare(declared.element, old[at], new[at], f"{path}[{at}]")]
    if declared.replace and declared.element.kind is not Kind.BLOCK and changes:
        changes = [Change(path=change.path, verb=change.verb, replace=True) for change in changes]
    verb = Verb.DELETE if len(old) > len(new) else Verb.ADD
    extra = range(both, max(len(old), len(new)))
    return changes + [Change(path=f"{path}[{at}]", verb=verb, replace=declared.replace) for at in extra]


def _compare_maps(declared: Field, old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> list[Change]:
    changes = []
    for key in sorted({*old, *new}):
        if old.get(key) == new.get(key):
            continue
        verb = Verb.DELETE if key not in new else Verb.ADD if key not in old else Verb.UPDATE
        changes.append(Change(path=path + _map_key(key), verb=verb, replace=declared.replace))
    return changes


def _map_key(key: str) -> str:
    return f'["{key}"]' if set(key) & set('.[]"') else f".{key}"


def _compare_whole(declared: Field, old: Any, new: Any, path: str) -> list[Change]:
    if _canonical(declared, old) == _canonical(declared, new):
        return []
    return [Change(path=path, verb=Verb.UPDATE if old else Verb.ADD, replace=declared.replace)]


def _canonical(declared: Field, value: Any) -> Any:
    if isinstance(value, Asset):
        return value.hash_hex
    if declared.kind is Kind.SET:
        return sorted(json.dumps(prune(item), sort_keys=True, default=repr) for item in value or [])
    if not value:
        return None
    return float(value) if declared.kind is Kind.NUMBER else value
