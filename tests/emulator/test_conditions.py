"""IAM conditions."""

from __future__ import annotations

import pytest

from runner.emulator.conditions import condition_holds

VM = {
    "name": "projects/p/zones/z/instances/b1-0",
    "type": "compute.googleapis.com/Instance",
    "service": "compute.googleapis.com",
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('resource.name == "projects/p/zones/z/instances/b1-0"', True),
        ("resource.name.endsWith('instances/b1-0')", True),
        ('resource.name.startsWith("projects/p/zones/z/instances/b1-")', True),
        ('resource.name.startsWith("projects/p/zones/z/instances/b2-")', False),
        ('resource.type == "compute.googleapis.com/Instance" && resource.name.endsWith("b1-0")', True),
        ('resource.type == "compute.googleapis.com/Disk" && resource.name.endsWith("b1-0")', False),
        ('resource.type == "x" || resource.name.endsWith("b1-0")', True),
        ('(resource.name.endsWith("b1-0"))', True),
        ('resource.name != "x"', True),
        ("true", False),
        ('request.time < timestamp("2030-01-01T00:00:00Z")', False),
    ],
)
def test_condition(expression: str, expected: bool) -> None:
    assert condition_holds(expression, VM) is expected
