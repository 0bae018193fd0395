"""The tables have the properties that the ``pulumi_gcp`` SDK sends and reads, with the same names and shapes."""

from __future__ import annotations

import importlib
import re
import typing
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import pytest
from pulumi import _types

from runner.emulator.provider.functions import FUNCTIONS
from runner.emulator.provider.registry import TYPES
from runner.emulator.provider.schema import Field, Kind

SCALARS = {Kind.TEXT: (str,), Kind.FLAG: (bool,), Kind.NUMBER: (int, float)}


def sdk_module(token: str) -> ModuleType:
    """``pulumi_gcp.compute.instance`` for ``gcp:compute/instance:Instance``."""
    _, path, name = token.split(":")
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=IAM)(?=[A-Z])", "_", name).lower()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own, when it is loaded
        return importlib.import_module(f"pulumi_gcp.{path.split('/')[0]}.{snake}")


def sdk_class(token: str, suffix: str = "") -> Any:
    return getattr(sdk_module(token), token.rsplit(":", 1)[1] + suffix)


def output_types(token: str) -> dict[str, Any]:
    return _types.resource_types(sdk_class(token))


def assert_alike(declared: Field, found: Any, path: str) -> None:
    """Check that ``declared`` has the shape of the SDK's outputs."""
    if declared.kind in SCALARS:
        assert found in SCALARS[declared.kind], path
    elif declared.kind is Kind.MAP:
        assert typing.get_origin(found) is Mapping, path
    elif declared.kind in (Kind.LIST, Kind.SET):
        assert typing.get_origin(found) is Sequence, path
        assert_alike(declared.element, typing.get_args(found)[0], f"{path}[]")
    elif declared.kind is Kind.BLOCK:
        inner = _types.output_type_types(found)
        for name, field in declared.fields.items():
            assert_alike(field, inner[name], f"{path}.{name}")


@pytest.mark.parametrize("token", sorted(TYPES))
def test_inputs_are_those_of_the_sdk(token: str) -> None:
    known = set(_types.input_type_py_to_pulumi_names(sdk_class(token, "Args")).values())
    assert {name for name, field in TYPES[token].fields.items() if not field.output} <= known


@pytest.mark.parametrize("token", sorted(TYPES))
def test_outputs_are_those_of_the_sdk(token: str) -> None:
    assert set(TYPES[token].fields) <= set(output_types(token))


@pytest.mark.parametrize("token", sorted(TYPES))
def test_shapes_are_those_of_the_sdk(token: str) -> None:
    known = output_types(token)
    for name, field in TYPES[token].fields.items():
        assert_alike(field, known[name], name)


@pytest.mark.parametrize("token", sorted(FUNCTIONS))
def test_functions_are_those_of_the_sdk(token: str) -> None:
    name = token.rsplit(":", 1)[1]
    assert hasattr(sdk_module(token), re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
