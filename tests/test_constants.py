"""What the product knows is written down once: no two modules of it have a constant of one name for one fact.

The embedded cloud is not the product: it has Google's names and texts from Google, so that the two can be compared.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FREEZERS = {"frozenset", "set", "tuple"}


def _texts(value: ast.expr) -> frozenset[str] | None:
    """The texts of a collection that is written out; None if it is none."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in FREEZERS and value.args:
        return _texts(value.args[0])
    if not isinstance(value, ast.Set | ast.Tuple | ast.List) or not value.elts:
        return None
    texts = [item.value for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return frozenset(texts) if len(texts) == len(value.elts) else None


def _constants(source: str) -> Iterator[tuple[str, str | frozenset[str]]]:
    """Name and value of what is written out at a module's top: a text, or a collection of texts."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name, value = statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            name, value = statement.target.id, statement.value
        else:
            continue
        if name.startswith("__"):
            continue
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield name, value.value
        elif (texts := _texts(value)) is not None:
            yield name, texts


def find_twins(sources: dict[str, str]) -> dict[str, list[str]]:
    """Names that two modules give to one text, or to collections of texts that are the same or (which is worse) not quite."""
    known: dict[str, list[tuple[str, frozenset[str]]]] = defaultdict(list)
    twins: dict[str, set[str]] = defaultdict(set)
    for module, source in sources.items():
        for name, value in _constants(source):
            texts = frozenset({value}) if isinstance(value, str) else value
            for other, others in known[name]:
                if texts & others:
                    twins[name] |= {module, other}
            known[name].append((module, texts))
    return {name: sorted(modules) for name, modules in twins.items()}


def test_no_fact_is_written_down_twice() -> None:
    files = [path for path in (ROOT / "runner").rglob("*.py") if "emulator" not in path.parts]
    assert len(files) > 100
    assert find_twins({str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}) == {}


@pytest.mark.parametrize(
    ("first", "second", "is_found"),
    [
        ('A = "batch.json"', 'A: str = "batch.json"', True),
        ('A = "batch.json"', 'A = "other.json"', False),
        ('A = frozenset({"STOPPED"})', 'A = frozenset({"STOPPED", "STOPPING"})', True),
        ('A = ("x",)', "A = (1, 2)", False),
        ('A = ("x", "y")', 'A = {"z"}', False),
        ('A = "x"', 'B = "x"', False),
    ],
)
def test_twins_are_seen(first: str, second: str, is_found: bool) -> None:
    assert find_twins({"one": first, "two": second}) == ({"A": ["one", "two"]} if is_found else {})
