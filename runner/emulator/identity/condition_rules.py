"""Google's rules for policies with conditions: callers must use version 3, and the number of conditions is limited.

Source: https://cloud.google.com/iam/docs/policies#versions and https://cloud.google.com/iam/quotas (2026-11).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from runner.emulator.http import Call
from runner.emulator.iam import compile_condition
from runner.emulator.state import Document
from runner.errors import CloudError

VERSION = 3
MOST_CONDITIONS = 20


def requested_version(call: Call) -> int:
    """Return the newest policy version that the caller understands."""
    query = call.query
    asked = (call.body.get("options") or {}).get("requestedPolicyVersion") if isinstance(call.body, dict) else None
    asked = asked or query.get("optionsRequestedPolicyVersion") or query.get("options.requestedPolicyVersion") or 1
    return int(asked)


def hide_conditions(bindings: Sequence[Document], version: int) -> list[Document]:
    """Return the bindings as a caller of this version sees them: before version 3, roles with a condition are renamed instead."""
    return [_hidden(binding) if version < VERSION and binding.get("condition") else binding for binding in bindings]


def _hidden(binding: Document) -> Document:
    mark = hashlib.sha256(binding["condition"]["expression"].encode()).hexdigest()[:20]
    return {"role": f"{binding['role']}_withcond_{mark}", "members": binding["members"]}


def check_conditions(bindings: Sequence[Document], version: int) -> None:
    """Raise CloudError 400 if Google would reject these conditions."""
    conditional = [binding for binding in bindings if binding.get("condition")]
    if conditional and version < VERSION:
        raise _refused("Policy contains conditional role bindings, and has to be of version 3.")
    for binding in conditional:
        _check_condition(binding["condition"])
    granted = Counter((binding["role"], member) for binding in conditional for member in binding.get("members", ()))
    for (role, member), count in granted.items():
        if count > MOST_CONDITIONS:
            raise _refused(
                f"The role {role} is granted to {member} with {count} conditions; {MOST_CONDITIONS} is the limit."
            )


def _check_condition(condition: Document) -> None:
    if not condition.get("title"):
        raise _refused("A condition must have a title.")
    try:
        compile_condition(str(condition.get("expression") or ""))
    except ValueError as error:
        raise _refused(f"Condition expression compilation failed: {error}") from error


def _refused(message: str) -> CloudError:
    return CloudError(message, reason="badRequest", status=400)
