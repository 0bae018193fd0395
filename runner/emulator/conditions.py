"""IAM conditions, as far as bindings for this project use them: comparisons of ``resource.name`` and ``resource.type``.

``resource.name == "…"``, ``resource.name.startsWith("…")``, ``resource.name.endsWith("…")``, the same for
``resource.type`` and ``resource.service``, joined by ``&&`` or ``||`` (``&&`` binds tighter). Whatever else is written
grants nothing, which is the safe way to be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TERM = re.compile(
    r"""\s*resource\.(?P<field>name|type|service)
        (?:\.(?P<method>startsWith|endsWith)\(\s*(?P<q1>["'])(?P<text>.*?)(?P=q1)\s*\)
        |\s*(?P<operator>==|!=)\s*(?P<q2>["'])(?P<value>.*?)(?P=q2))\s*""",
    re.VERBOSE,
)


def condition_holds(expression: str, resource: Mapping[str, str]) -> bool:
    """``resource`` has ``name``, ``type`` and ``service``."""
    return any(
        all(_term_holds(term, resource) for term in alternative.split("&&")) for alternative in expression.split("||")
    )


def _term_holds(term: str, resource: Mapping[str, str]) -> bool:
    found = _TERM.fullmatch(term.strip().removeprefix("(").removesuffix(")") if term.strip().startswith("(") else term)
    if found is None:
        return False
    actual = resource.get(found["field"], "")
    if found["method"] == "startsWith":
        return actual.startswith(found["text"])
    if found["method"] == "endsWith":
        return actual.endswith(found["text"])
    return (actual == found["value"]) is (found["operator"] == "==")
