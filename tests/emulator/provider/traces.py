"""The recordings of the stock plugin's requests, and the parts of them that are compared with ours.

Left out: reads, waits, retries, nulls and empty values, etags and fingerprints (they differ from run to run).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .recorder import Request

TRACES = Path(__file__).parents[2] / "data" / "traces"
_PASSING = {"etag", "fingerprint", "labelFingerprint"}


def load_trace(name: str) -> list[Request]:
    return [json.loads(line) for line in (TRACES / f"{name}.jsonl").read_text().splitlines()]


def writes_of(requests: Sequence[Request]) -> list[str]:
    """Return the compared writes, each as one line, in alphabetical order."""
    writes = [request for request in requests if _is_write(request) and request["status"] < 500]
    return sorted(json.dumps(_essence(request), sort_keys=True) for request in writes)


def _is_write(request: Request) -> bool:
    return request["method"] != "GET" and not request["path"].endswith(("/wait", ":getIamPolicy"))


def _essence(request: Request) -> list[Any]:
    query = {key: value for key, value in request["query"].items() if key not in ("alt", "prettyPrint", "generation")}
    body = request["request_body"]
    if isinstance(body, str):
        body = re.sub(r"\s+", "", body)
    return [request["method"], request["path"], query, _without_empty(body), request["status"]]


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_empty(inner) for key, inner in value.items() if key not in _PASSING}
        return {key: inner for key, inner in kept.items() if inner not in (None, "", {}, [])}
    if isinstance(value, list):
        return [inner for inner in map(_without_empty, value) if inner not in (None, {})]
    return value
