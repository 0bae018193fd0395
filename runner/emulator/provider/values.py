"""Converts property values of the engine to plain Python and back: unknowns, secrets, assets, whole numbers.

The provider reports to the engine that it does not accept secrets: the engine unwraps them and marks the answers under
the same names, so none can be lost here. Values that are secret whatever the program does are sent as ``Secret``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import struct_pb2

SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
_ASSET = "c44067f5952c0a294b673a41bacd8c17"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Properties = dict[str, Any]


class Unknown:
    """A value that is unknown until its resource exists."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file or text from a program; ``hash_hex`` is the engine's SHA-256 of its content."""

    hash_hex: str = ""
    text: str | None = None
    path: str | None = None

    def read_bytes(self) -> bytes:
        """Return the content, read where the provider runs."""
        return Path(self.path).read_bytes() if self.path else (self.text or "").encode()


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A value that the stock plugin marks as secret; values that a program derives from it become secret too."""

    value: str


def decode(properties: struct_pb2.Struct) -> Properties:
    """Return a message's properties as plain Python; nulls are left out."""
    decoded = {key: decode_value(value) for key, value in properties.fields.items()}
    return {key: value for key, value in decoded.items() if value is not None}


def decode_value(value: struct_pb2.Value) -> Any:
    """Return a value as plain Python."""
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value == _UNKNOWN_TEXT else value.string_value
        case "bool_value":
            return value.bool_value
        case "number_value":
            return int(value.number_value) if value.number_value.is_integer() else value.number_value
        case "list_value":
            return [decode_value(item) for item in value.list_value.values]
        case "struct_value":
            return _decode_object(decode(value.struct_value))
        case _:
            return None


def _decode_object(found: Properties) -> Any:
    match found.get(SIGNATURE_KEY):
        case None:
            return found
        case signature if signature == _ASSET:
            return Asset(hash_hex=found.get("hash", ""), text=found.get("text"), path=found.get("path"))
        case signature if signature in (_SECRET, _OUTPUT):
            return found.get("value", UNKNOWN)
        case signature if signature == _RESOURCE:
            return found.get("id", UNKNOWN)
        case _:
            return found


def encode(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return plain Python as a message's properties; nulls are left out."""
    encoded = struct_pb2.Struct()
    for key, value in properties.items():
        if value is not None:
            encoded.fields[key].CopyFrom(_encode_value(value))
    return encoded


def _encode_value(value: Any) -> struct_pb2.Value:
    match value:
        case Unknown():
            return struct_pb2.Value(string_value=_UNKNOWN_TEXT)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case Mapping():
            return struct_pb2.Value(struct_value=encode(value))
        case list() | tuple():
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode_value(item) for item in value]))
        case Secret():
            return struct_pb2.Value(struct_value=encode({SIGNATURE_KEY: _SECRET, "value": value.value}))
        case Asset():
            encoded = {SIGNATURE_KEY: _ASSET, "hash": value.hash_hex, "text": value.text, "path": value.path}
            return struct_pb2.Value(struct_value=encode(encoded))
        case _:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)


def has_unknown(value: Any) -> bool:
    """Return whether any part of it is unknown."""
    match value:
        case Unknown():
            return True
        case Mapping():
            return any(has_unknown(inner) for inner in value.values())
        case list():
            return any(has_unknown(inner) for inner in value)
        case _:
            return False


def reveal(value: Any) -> Any:
    """Return ``value`` with secrets as plain text: the answers of functions mark none, as with the stock plugin."""
    match value:
        case Secret():
            return value.value
        case Mapping():
            return {key: reveal(inner) for key, inner in value.items()}
        case list():
            return [reveal(inner) for inner in value]
        case _:
            return value


def prune(value: Any) -> Any:
    """Return ``value`` without nulls and the engine's own ``__`` keys."""
    match value:
        case Mapping():
            kept = {key: prune(inner) for key, inner in value.items() if not key.startswith("__")}
            return {key: inner for key, inner in kept.items() if inner is not None}
        case list():
            return [prune(inner) for inner in value]
        case _:
            return value
