"""If the cloud leaves a field out of an answer, the next plan is the same as with the stock plugin.

``tests/data/traces/required_fields.json`` has its plans, field by field.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import httpx
import pytest

from runner.emulator.provider.check import Naming, check_inputs
from runner.emulator.provider.diff import diff_resource
from runner.emulator.provider.registry import TYPES
from runner.emulator.provider.resource import ATTRIBUTION_LABELS, Cloud, Locks, ResourceType, Settings, plan_labels
from runner.emulator.provider.rest import Rest
from runner.emulator.provider.values import Properties, prune

from .declared import DECLARED
from .traces import TRACES, load_trace

SETTINGS = Settings(project="demo", region="europe-west1", zone="europe-west1-b", default_labels=ATTRIBUTION_LABELS)
REQUIRED = json.loads((TRACES / "required_fields.json").read_text())
JUDGED = ("no change planned", "planned update", "planned replace", "planned create")
CASES = [
    (name, field, plan)
    for name, plans in REQUIRED.items()
    for plan, fields in plans.items()
    if plan in JUDGED
    for field in fields
]


@cache
def answers_of(program: str) -> Mapping[str, Any]:
    """Return the answer to each read, by path."""
    requests = load_trace(f"{program}-6-preview-refresh")
    return {request["path"]: request["response_body"] for request in requests if request["status"] == 200}


def read_path(name: str, id: str) -> str:
    """Return the read whose answer is about this resource."""
    match name.split("."):
        case ["compute", "ProjectMetadataItem"]:
            return "/compute/v1/projects/demo"
        case ["compute", "RouterNat"]:
            return "/compute/v1/projects/demo/regions/europe-west1/routers/study-router"
        case ["compute", _]:
            return f"/compute/v1/{id}"
        case ["storage", "Bucket"]:
            return f"/storage/v1/b/{id}"
        case ["storage", _]:
            return "/storage/v1/b/demo-results/o/study%2FREADME.txt"
        case ["oslogin", _]:
            return f"/oslogin/v1/{id}/"
        case _:
            return f"/iam/v1/{id}"


def strip(value: Any, path: Sequence[str]) -> None:
    """Remove a dotted field; from each item of a list."""
    for item in value if isinstance(value, list) else [value]:
        head, *rest = path
        if rest and isinstance(item, dict) and head in item:
            strip(item[head], rest)
        elif isinstance(item, dict):
            item.pop(head, None)


def cloud_with(answers: Mapping[str, Any]) -> Cloud:
    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().split("?")[0]
        return httpx.Response(200, json=answers[path]) if path in answers else httpx.Response(404, json={})

    rest = Rest("http://cloud", "token", transport=httpx.MockTransport(answer))
    return Cloud(rest=rest, settings=SETTINGS, locks=Locks(), cancelled=threading.Event(), pace=0.0)


def labels_of(kind: ResourceType, declared: Properties) -> Properties:
    planned = plan_labels(SETTINGS, declared, {})
    assert planned is not None
    return {"pulumiLabels": planned[0], "effectiveLabels": planned[1]} if "labels" in kind.fields else {}


def plan_without(name: str, field: str) -> str:
    """Return the plan after a refresh in which ``field`` was missing."""
    program, token, id, declared = DECLARED[name]
    kind, answers = TYPES[token], answers_of(program)
    inputs, problems = check_inputs(kind, {}, declared, Naming(logical_name="x"))
    assert problems == []
    before = kind.read_state(cloud_with(answers), id, prune(inputs) | labels_of(kind, declared))
    assert before is not None
    assert diff_resource(kind, before, inputs, SETTINGS) == []
    stripped = copy.deepcopy(answers)
    strip(stripped[read_path(name, id)], field.split("."))
    after = kind.read_state(cloud_with(stripped), id, before)
    if after is None:
        return "planned create"
    changes = diff_resource(kind, after, inputs, SETTINGS)
    if any(change.replace for change in changes):
        return "planned replace"
    return "planned update" if changes else "no change planned"


@pytest.mark.parametrize(("name", "field", "plan"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_what_a_missing_field_leads_to(name: str, field: str, plan: str) -> None:
    assert plan_without(name, field) == plan
