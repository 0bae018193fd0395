"""Checks inputs against a type's table, and completes them with defaults and, if the type has auto-naming, with a generated name."""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.emulator.provider.resource import ResourceType
from runner.emulator.provider.schema import Field, Kind, settable
from runner.emulator.provider.values import UNKNOWN, Asset, Properties, prune

DEFAULTS = "__defaults"
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How to name a resource without a name in the program: after ``logical_name``, unless the engine proposes a name."""

    logical_name: str
    seed: bytes = b""
    proposed: str = ""
    allowed: bool = True

    def make_name(self) -> str:
        """Return the logical name in lower case, a dash and seven hexadecimal digits."""
        if self.proposed:
            return self.proposed
        tail = hashlib.sha256(self.seed).hexdigest()[:7] if self.seed else secrets.token_hex(4)[:7]
        return f"{re.sub('[^a-z0-9-]', '-', self.logical_name.lower())[:55]}-{tail}"


def check_inputs(
    kind: ResourceType, olds: Properties, news: Properties, naming: Naming
) -> tuple[Properties, list[str]]:
    """Return the checked inputs, and the failures (the inputs are complete only if there are none)."""
    checker = _Checker()
    named = _with_name(kind, olds, news, naming)
    inputs = checker.check_object(kind.fields, named, naming.logical_name)
    if not checker.problems:
        checker.problems += kind.operations.problems(prune(inputs))
    return inputs, checker.problems


def _with_name(kind: ResourceType, olds: Properties, news: Properties, naming: Naming) -> Properties:
    named = dict(news)
    for key, declared in kind.fields.items():
        if not declared.auto_named or named.get(key) is not None or not naming.allowed:
            continue
        kept = olds.get(key) if key in olds.get(DEFAULTS, []) else None
        named[key] = kept or naming.make_name()
        named[DEFAULTS] = [*named.get(DEFAULTS, []), key]
    return named


class _Checker:
    def __init__(self) -> None:
        self.problems: list[str] = []

    def check_object(self, fields: Mapping[str, Field], given: Properties, path: str) -> Properties:
        """Return ``given`` with defaults, its values converted to the kinds in the table."""
        self._find_strangers(fields, given, path)
        checked: Properties = {}
        defaults = list(given.get(DEFAULTS, []))
        for key, declared in fields.items():
            value = given.get(key)
            if value is not None and not declared.output:
                checked[key] = self.check_value(declared, value, f"{path}.{key}")
                self._find_conflicts(declared, given, key, path)
            elif declared.required:
                self.problems.append(f"Missing required property '{key}'. Examine values at '{path}.{key}'.")
            elif declared.default is not None:
                checked[key] = declared.default
                defaults.append(key)
        return checked | ({DEFAULTS: sorted(defaults)} if defaults else {})

    def _find_strangers(self, fields: Mapping[str, Field], given: Properties, path: str) -> None:
        known = settable(fields)
        for key in sorted(set(given) - set(known) - {DEFAULTS}):
            close = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" The embedded cloud takes: {', '.join(known)}."
            self.problems.append(f"Invalid or unknown key. Examine values at '{path}.{key}'.{hint}")

    def _find_conflicts(self, declared: Field, given: Properties, key: str, path: str) -> None:
        for other in declared.conflicts:
            if given.get(other) is not None:
                self.problems.append(
                    f"Conflicting configuration arguments: '{key}' conflicts with '{other}'. "
                    f"Examine values at '{path}.{key}'."
                )

    def check_value(self, declared: Field, value: Any, path: str) -> Any:
        """Return ``value`` converted to the kind in the table."""
        if value is UNKNOWN:
            return value
        match declared.kind, value:
            case Kind.TEXT, bool() | int() | float() | str():
                return self._check_text(declared, value, path)
            case Kind.FLAG, bool():
                return value
            case Kind.FLAG, str() if value.lower() in _TRUTH:
                return _TRUTH[value.lower()]
            case Kind.NUMBER, int() | float() if not isinstance(value, bool):
                return value
            case Kind.NUMBER, str() if re.fullmatch(r"-?\d+", value):
                return int(value)
            case Kind.MAP, dict():
                return {key: self._check_item(declared, inner, f"{path}.{key}") for key, inner in value.items()}
            case ((Kind.LIST | Kind.SET), list()):
                return [self._check_item(declared, inner, f"{path}[{at}]") for at, inner in enumerate(value)]
            case Kind.BLOCK, dict():
                return self.check_object(declared.fields, value, path)
            case Kind.ASSET, Asset():
                return value
        self.problems.append(f"Unexpected type: expected {declared.kind.value}. Examine values at '{path}'.")
        return value

    def _check_item(self, declared: Field, value: Any, path: str) -> Any:
        return self.check_value(declared.element, value, path)

    def _check_text(self, declared: Field, value: Any, path: str) -> str:
        said = str(value).lower() if isinstance(value, bool) else str(value)
        if declared.pattern and not re.fullmatch(declared.pattern, said):
            self.problems.append(
                f'("{said}") doesn\'t match regexp "^{declared.pattern}$". Examine values at \'{path}\'.'
            )
        if declared.choices and said not in declared.choices:
            allowed = " ".join(f'"{choice}"' for choice in declared.choices)
            self.problems.append(f"expected one of [{allowed}], got \"{said}\". Examine values at '{path}'.")
        return said
