"""Checks of request bodies, whatever the protocol: field names and types, names, labels, references.

Every check raises the error that Google responds with; none of them touches a request or a response.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.emulator.state import Document
from runner.emulator.wire import api_errors
from runner.emulator.wire.request_fields import ANY, TEXTS
from runner.errors import CloudError

NAME_PATTERN = "[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(NAME_PATTERN)
_BUCKET_NAME = re.compile(r"[a-z0-9][-_.a-z0-9]{1,61}[a-z0-9]")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_METADATA_KEY = re.compile(r"[a-zA-Z0-9-_]{1,128}")
_TYPE_NAMES: Mapping[type, str] = {str: "TYPE_STRING", bool: "TYPE_BOOL", int: "TYPE_INT64", float: "TYPE_DOUBLE"}
_MAX_LABELS = 64
_MAX_METADATA_BYTES = 512 * 1024


def check_fields(body: Any, allowed: Any, *, where: str = "") -> None:
    """Reject unknown fields and wrong types, at any depth; nulls are accepted, as by Google."""
    if body is None or allowed == ANY:
        return
    if isinstance(allowed, list):
        _check_list(body, allowed[0], where)
    elif allowed == TEXTS:
        _check_texts(body, where)
    elif isinstance(allowed, dict):
        _check_object(body, allowed, where)
    elif not _is_scalar(body, allowed):
        raise _wrong_type(where, _TYPE_NAMES[allowed], body)


def _check_list(body: Any, allowed: Any, where: str) -> None:
    if not isinstance(body, list):
        raise _wrong_type(where, "a list", body)
    for index, item in enumerate(body):
        check_fields(item, allowed, where=f"{where}[{index}]")


def _check_texts(body: Any, where: str) -> None:
    if not isinstance(body, dict):
        raise _wrong_type(where, "an object", body)
    for key, value in body.items():
        if value is not None and not isinstance(value, str):
            raise _wrong_type(f"{where}.{key}", "TYPE_STRING", value)


def _check_object(body: Any, allowed: Mapping[str, Any], where: str) -> None:
    if not isinstance(body, dict):
        raise _wrong_type(where, "an object", body)
    for key, value in body.items():
        if key not in allowed:
            place = f" at '{where}'" if where else ""
            raise api_errors.invalid(f'Invalid JSON payload received. Unknown name "{key}"{place}: Cannot find field.')
        check_fields(value, allowed[key], where=f"{where}.{key}" if where else key)


def _is_scalar(value: Any, kind: type) -> bool:
    if kind is int:
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, str) and re.fullmatch(r"-?\d+|", value) is not None
        )
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _wrong_type(where: str, wanted: str, value: Any) -> CloudError:
    return api_errors.invalid(f"Invalid value at '{where or 'body'}' ({wanted}), {value!r}")


def check_name(name: Any, *, field: str = "resource.name") -> str:
    """Check a name against Google's rule for Compute resources."""
    if name in (None, ""):
        raise api_errors.required(field)
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise api_errors.invalid_field(field, name, f"Must be a match of regex '{NAME_PATTERN}'")
    return name


def check_bucket_name(name: str) -> str:
    """Check the form of a bucket's name by Google's rule, not whether the name is available."""
    if _BUCKET_NAME.fullmatch(name) is None or ".." in name:
        raise api_errors.invalid(f"Invalid bucket name: '{name}'")
    return name


def check_labels(labels: Mapping[str, Any] | None, *, field: str = "resource.labels") -> None:
    if labels is None:
        return
    if len(labels) > _MAX_LABELS:
        raise api_errors.invalid_field(field, len(labels), f"At most {_MAX_LABELS} labels are allowed.")
    for key, value in labels.items():
        if _LABEL_KEY.fullmatch(key) is None:
            raise api_errors.invalid_field(field, key, f"Label keys must match '{_LABEL_KEY.pattern}'.")
        if _LABEL_VALUE.fullmatch(value or "") is None:
            raise api_errors.invalid_field(field, value, f"Label value '{value}' violates format constraints.")


def check_metadata(items: list[Document] | None, *, field: str = "resource.metadata.items") -> None:
    keys = [str(item.get("key", "")) for item in items or ()]
    for index, key in enumerate(keys):
        if _METADATA_KEY.fullmatch(key) is None:
            raise api_errors.invalid_field(f"{field}[{index}].key", key, f"Must match '{_METADATA_KEY.pattern}'.")
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise api_errors.invalid_field(field, repeated[0], "Metadata has duplicate keys.")
    if sum(len(str(item.get("value", ""))) for item in items or ()) > _MAX_METADATA_BYTES:
        raise api_errors.invalid(f"Metadata is too large: at most {_MAX_METADATA_BYTES} bytes.")


def check_choice(value: Any, choices: tuple[str, ...], *, field: str) -> None:
    """Check that the value is empty or one of ``choices``."""
    if value not in (None, "", *choices):
        raise api_errors.invalid_field(field, value, f"Must be one of: {', '.join(choices)}.")


def read_int(value: Any, *, field: str) -> int:
    """Read a JSON integer, or one as text."""
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise api_errors.invalid_field(field, value, "Must be an integer.") from error
