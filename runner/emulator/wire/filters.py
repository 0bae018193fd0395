"""The ``filter=`` parameter of Google's list calls, parsed into a predicate.

Comparisons ``field OP value`` with ``= != > < >= <= : eq ne``; ``AND OR NOT -``, parentheses; two terms side by side are
an AND. ``:`` searches for a substring, ``field:*`` tests whether the field exists, ``eq``/``ne`` take a regular
expression that must match the whole value. Links are compared from ``projects/`` on, or by their last part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from runner.emulator.state import Document
from runner.emulator.wire import api_errors

Predicate = Callable[[Document], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<paren>[()])
        |(?P<operator>!=|>=|<=|=|>|<|:|(?:eq|ne)(?=\s))
        |"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'
        |(?P<minus>-(?=[(a-zA-Z]))
        |(?P<word>[^\s()=!<>:"']+(?:://[^\s()"']+)?))""",
    re.VERBOSE,
)


def parse_filter(text: str) -> Predicate:
    """Parse a filter into a predicate; an empty filter lets everything through.

    Raises:
        CloudError: 400, the filter is not valid.
    """
    if not text.strip():
        return lambda document: True
    try:
        return _Parser(list(_tokens(text))).parse()
    except (ValueError, IndexError, re.error) as error:
        raise api_errors.invalid_field("filter", text, "Invalid list filter expression.") from error


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, text = 0, text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.end() == at:
            raise ValueError(text[at:])
        kind = str(found.lastgroup)
        value = found.group(kind)
        if kind in ("double", "single"):
            kind, value = "quoted", re.sub(r"\\(.)", r"\1", value)
        yield kind, value
        at = found.end()


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def parse(self) -> Predicate:
        predicate = self._any_of()
        if self._at != len(self._tokens):
            raise ValueError(self._tokens[self._at])
        return predicate

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        self._at += 1
        return self._tokens[self._at - 1]

    def _any_of(self) -> Predicate:
        terms = [self._all_of()]
        while self._peek() == ("word", "OR"):
            self._take()
            terms.append(self._all_of())
        return terms[0] if len(terms) == 1 else lambda document: any(term(document) for term in terms)

    def _all_of(self) -> Predicate:
        terms = [self._term()]
        while self._peek() not in (("end", ""), ("paren", ")"), ("word", "OR")):
            if self._peek() == ("word", "AND"):
                self._take()
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else lambda document: all(term(document) for term in terms)

    def _term(self) -> Predicate:
        kind, value = self._take()
        if kind == "minus" or (kind, value) == ("word", "NOT"):
            inner = self._term()
            return lambda document: not inner(document)
        if (kind, value) == ("paren", "("):
            inner = self._any_of()
            if self._take() != ("paren", ")"):
                raise ValueError("unbalanced")
            return inner
        if kind not in ("word", "quoted"):
            raise ValueError(value)
        return self._comparison(value)

    def _comparison(self, field: str) -> Predicate:
        kind, operator = self._take()
        if kind != "operator":
            raise ValueError(field)
        kind, value = self._take()
        if kind not in ("word", "quoted"):
            raise ValueError(value)
        return _comparison(field, operator, value)


def _comparison(field: str, operator: str, value: str) -> Predicate:
    if operator in ("eq", "ne"):
        pattern = re.compile(value)
        return lambda document: _matches(pattern, _find(document, field)) is (operator == "eq")
    return lambda document: _compare(_find(document, field), operator, value)


def _find(document: Document, field: str) -> list[Any]:
    """Find every value at a dotted path. Lists are searched, and label keys may contain dots."""
    values: list[Any] = [document]
    parts = field.split(".")
    for index, part in enumerate(parts):
        flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
        rest = ".".join(parts[index:])
        exact = [item[rest] for item in flat if isinstance(item, dict) and rest in item]
        if exact:
            return [item for value in exact for item in (value if isinstance(value, list) else [value])]
        values = [item[part] for item in flat if isinstance(item, dict) and part in item]
    return []


def _spellings(value: Any) -> tuple[str, ...]:
    """Return the forms in which a filter may write a value."""
    if isinstance(value, bool):
        return (str(value).lower(),)
    text = str(value)
    if text.startswith("https://") and "/projects/" in text:
        return (text, "projects/" + text.split("/projects/", 1)[1], text.rsplit("/", 1)[1])
    return (text,)


def _compare(values: list[Any], operator: str, wanted: str) -> bool:
    if operator == ":":
        return bool(values) if wanted == "*" else any(_has(value, wanted) for value in values)
    if operator == "=":
        return any(_equals(value, wanted) for value in values)
    if operator == "!=":
        return not any(_equals(value, wanted) for value in values)
    return any(_is_ordered(value, operator, wanted) for value in values)


def _equals(value: Any, wanted: str) -> bool:
    normal = "projects/" + wanted.split("/projects/", 1)[1] if "/projects/" in wanted else wanted
    return any(spelling in (wanted, normal) for spelling in _spellings(value))


def _has(value: Any, wanted: str) -> bool:
    if isinstance(value, dict):
        return wanted in value
    pattern = ".*".join(re.escape(part) for part in wanted.lower().split("*"))
    return re.search(pattern, str(value).lower()) is not None


def _is_ordered(value: Any, operator: str, wanted: str) -> bool:
    left: Any
    right: Any
    try:
        left, right = float(value), float(wanted)
    except ValueError:
        left, right = str(value), wanted
    return bool({">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}[operator])


def _matches(pattern: re.Pattern[str], values: list[Any]) -> bool:
    return any(pattern.fullmatch(spelling) for value in values for spelling in _spellings(value))
