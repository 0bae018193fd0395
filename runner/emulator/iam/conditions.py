"""IAM conditions: compiles and evaluates the part of Google's expression language that role bindings use.

``resource.name``, ``resource.type``, ``resource.service`` and ``request.time``; strings, ``timestamp("…")``; ``==``, ``!=``, ``<``,
``<=``, ``>``, ``>=``, ``in [ … ]``; ``.startsWith()``, ``.endsWith()``, ``.extract()``; ``!``, ``&&``, ``||`` and brackets.
There are no regular expressions. Sources: https://cloud.google.com/iam/docs/conditions-attribute-reference,
conditions-resource-attributes and quotas (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

MOST_OPERATORS = 12

Attributes = Mapping[str, Any]
Value = Callable[[Attributes], Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"\\\n]*"|'[^'\\\n]*')|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!().,\[\]]))""",
    re.VERBOSE,
)
_ATTRIBUTES: Mapping[str, type] = {
    "resource.name": str,
    "resource.type": str,
    "resource.service": str,
    "request.time": datetime,
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
_METHODS = ("startsWith", "endsWith", "extract")
_TYPES = {
    "backendServices": "BackendService",
    "disks": "Disk",
    "firewalls": "Firewall",
    "forwardingRules": "ForwardingRule",
    "images": "Image",
    "instances": "Instance",
    "instanceTemplates": "InstanceTemplate",
    "snapshots": "Snapshot",
}
_TYPES_OF_STORAGE = {"buckets": "Bucket", "objects": "Object"}


def describe_resource(resource: str, now: datetime) -> Attributes:
    """Return the attributes of a request about a resource, as conditions see them.

    A resource of a type that Google does not list has no name and no type: no condition on these holds for it.
    """
    service, kind = _type_of(resource)
    return {
        "resource.name": resource if kind else "",
        "resource.type": f"{service}/{kind}" if kind else "",
        "resource.service": service,
        "request.time": now,
    }


def _type_of(resource: str) -> tuple[str, str]:
    parts = resource.split("/")
    if parts[:2] == ["projects", "_"]:
        collection = "objects" if "objects" in parts[4:5] else "buckets"
        return "storage.googleapis.com", _TYPES_OF_STORAGE[collection]
    if len(parts) > 3 and "serviceAccounts" not in parts and "roles" not in parts:
        return "compute.googleapis.com", _TYPES.get(parts[-2], "")
    return "", ""


def condition_holds(expression: str, attributes: Attributes) -> bool:
    """Return whether a condition holds; ``attributes`` from ``describe_resource``. An invalid condition never holds."""
    try:
        return compile_condition(expression)(attributes)
    except ValueError:
        return False


def compile_condition(expression: str) -> Callable[[Attributes], bool]:
    """Compile a condition; raise ValueError with the reason if it is invalid."""
    parser = _Parser(_split(expression))
    holds = parser.read_alternatives()
    parser.expect_end()
    if parser.operators > MOST_OPERATORS:
        raise ValueError(f"{parser.operators} logic operators; the limit is {MOST_OPERATORS}")
    return holds


def extract(text: str, template: str) -> str:
    """Extract the part of ``text`` where the template has ``{name}``; '' if there is none.

    The text before the braces is searched from the left, the text after them from there on; without the latter, the rest is returned.
    """
    before, _, after = re.sub(r"\{[^{}]*\}", "\0", template).partition("\0")
    start = text.find(before)
    if start < 0:
        return ""
    rest = text[start + len(before) :]
    end = rest.find(after) if after else len(rest)
    return rest[:end] if end >= 0 else ""


def _split(expression: str) -> list[str]:
    tokens, at = [], 0
    text = expression.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"cannot read {text[at : at + 20]!r}")
        tokens.append(found.group().strip())
        at = found.end()
    return tokens


class _Parser:
    """Reads tokens from the left. Each ``read_…`` returns a function that evaluates what it read."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self.operators = 0

    def read_alternatives(self) -> Callable[[Attributes], bool]:
        parts = [self._read_all_of()]
        while self._take("||"):
            self.operators += 1
            parts.append(self._read_all_of())
        return lambda attributes: any(part(attributes) for part in parts)

    def expect_end(self) -> None:
        if self._tokens[self._at]:
            raise ValueError(f"{self._tokens[self._at]!r} is not expected here")

    def _read_all_of(self) -> Callable[[Attributes], bool]:
        parts = [self._read_claim()]
        while self._take("&&"):
            self.operators += 1
            parts.append(self._read_claim())
        return lambda attributes: all(part(attributes) for part in parts)

    def _read_claim(self) -> Callable[[Attributes], bool]:
        if self._take("!"):
            self.operators += 1
            claim = self._read_claim()
            return lambda attributes: not claim(attributes)
        if self._take("("):
            inside = self.read_alternatives()
            self._expect(")")
            return inside
        return self._read_comparison()

    def _read_comparison(self) -> Callable[[Attributes], bool]:
        kind, value = self._read_value()
        if kind is bool:
            return value
        if self._take("in"):
            return self._read_membership(value)
        sign = self._next()
        if sign not in _COMPARISONS:
            raise ValueError(f"{sign!r} is not a comparison")
        other_kind, other = self._read_value()
        if other_kind is not kind:
            raise ValueError(f"a {kind.__name__} is compared with a {other_kind.__name__}")
        compare = _COMPARISONS[sign]
        return lambda attributes: compare(value(attributes), other(attributes))

    def _read_membership(self, value: Value) -> Callable[[Attributes], bool]:
        self._expect("[")
        members = [self._read_text()]
        while self._take(","):
            members.append(self._read_text())
        self._expect("]")
        return lambda attributes: value(attributes) in members

    def _read_value(self) -> tuple[type, Value]:
        """Read a value with the methods that are called on it; return its type and the value."""
        kind, value = self._read_plain()
        while self._take("."):
            kind, value = self._read_method(kind, value)
        return kind, value

    def _read_plain(self) -> tuple[type, Value]:
        token = self._next()
        if token[:1] in ("'", '"'):
            return str, lambda attributes: token[1:-1]
        if token == "timestamp":  # noqa: S105 - a function
            at = self._read_time()
            return datetime, lambda attributes: at
        self._expect(".")
        name = f"{token}.{self._next()}"
        if name not in _ATTRIBUTES:
            raise ValueError(f"undeclared reference to {name!r}")
        return _ATTRIBUTES[name], lambda attributes: attributes[name]

    def _read_method(self, kind: type, value: Value) -> tuple[type, Value]:
        method = self._next()
        if kind is not str or method not in _METHODS:
            raise ValueError(f"undeclared reference to {method!r}")
        self._expect("(")
        text = self._read_text()
        self._expect(")")
        if method == "extract":
            if len(re.findall(r"\{[^{}]*\}", text)) != 1 or text.count("{") != 1 or text.count("}") != 1:
                raise ValueError(f"the template {text!r} has to have one part in braces")
            return str, lambda attributes: extract(value(attributes), text)
        if method == "startsWith":
            return bool, lambda attributes: value(attributes).startswith(text)
        return bool, lambda attributes: value(attributes).endswith(text)

    def _read_time(self) -> datetime:
        self._expect("(")
        text = self._read_text()
        self._expect(")")
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError(f"the time {text!r} has no zone")
        return at

    def _read_text(self) -> str:
        token = self._next()
        if token[:1] not in ("'", '"'):
            raise ValueError(f"{token!r} is not a quoted string")
        return token[1:-1]

    def _next(self) -> str:
        token = self._tokens[self._at]
        if not token:
            raise ValueError("the expression is incomplete")
        self._at += 1
        return token

    def _take(self, wanted: str) -> bool:
        is_there = self._tokens[self._at] == wanted
        self._at += is_there
        return is_there

    def _expect(self, wanted: str) -> None:
        if not self._take(wanted):
            raise ValueError(f"{wanted!r} is missing before {self._tokens[self._at]!r}")
