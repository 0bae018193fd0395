"""Property values survive the conversion to messages and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import struct_pb2

from runner.emulator.provider.values import (
    SIGNATURE_KEY,
    UNKNOWN,
    Asset,
    Secret,
    decode,
    encode,
    has_unknown,
    prune,
    reveal,
)


def test_plain_values_survive() -> None:
    given = {"text": "a", "flag": False, "whole": 3, "part": 0.5, "list": [1, {"x": "y"}], "empty": {}}
    assert decode(encode(given)) == given


def test_whole_numbers_are_integers() -> None:
    sent = struct_pb2.Struct()
    sent["size"] = 40.0
    assert decode(sent)["size"] == 40
    assert isinstance(decode(sent)["size"], int)


def test_unknown_and_asset_survive(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("content")
    asset = Asset(hash_hex="ab", path=str(source))
    decoded = decode(encode({"id": UNKNOWN, "source": asset}))
    assert decoded["id"] is UNKNOWN
    assert decoded["source"].read_bytes() == b"content"


def test_text_asset_has_its_text_as_content() -> None:
    assert Asset(text="héllo").read_bytes() == "héllo".encode()


@pytest.mark.parametrize(
    "signature", ["1b47061264138c4ac30d75fd1eb44270", "d0e6a833031e9bbcd3f4e8bde6ca49a4"], ids=["secret", "output"]
)
def test_wrapped_values_are_unwrapped(signature: str) -> None:
    assert decode(encode({"key": {SIGNATURE_KEY: signature, "value": "inside"}})) == {"key": "inside"}


def test_secrets_are_marked() -> None:
    sent = encode({"key": Secret(value="inside")})
    assert sent.fields["key"].struct_value.fields[SIGNATURE_KEY].string_value == "1b47061264138c4ac30d75fd1eb44270"
    assert decode(sent) == {"key": "inside"}


def test_functions_return_secrets_as_plain_text() -> None:
    assert reveal({"a": [{"b": Secret(value="inside")}], "c": 1}) == {"a": [{"b": "inside"}], "c": 1}


def test_nulls_are_left_out() -> None:
    assert decode(encode({"a": None, "b": 1})) == {"b": 1}


def test_unknowns_are_found_at_any_depth() -> None:
    assert has_unknown({"a": [{"b": UNKNOWN}]})
    assert not has_unknown({"a": [{"b": 1}]})


def test_pruning_takes_nulls_and_the_engines_keys() -> None:
    assert prune({"__defaults": [], "a": {"b": None, "c": [{"__x": 1, "d": 2}]}}) == {"a": {"c": [{"d": 2}]}}
