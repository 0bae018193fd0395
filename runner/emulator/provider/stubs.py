"""The engine's gRPC stubs, without the rest of the ``pulumi`` package (saves a third of the memory and of the time)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def _bare_parents() -> Iterator[None]:
    """Replace ``pulumi`` and ``pulumi.runtime`` by empty packages inside; do nothing if the real one is loaded."""
    spec = importlib.util.find_spec("pulumi") if "pulumi" not in sys.modules else None
    if spec is None or not spec.submodule_search_locations:
        yield
        return
    root = Path(next(iter(spec.submodule_search_locations)))
    parents = {"pulumi": root, "pulumi.runtime": root / "runtime"}
    for name, folder in parents.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
    try:
        yield
    finally:
        for name in parents:
            del sys.modules[name]


with _bare_parents():
    from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

__all__ = ["plugin_pb2", "provider_pb2", "provider_pb2_grpc"]
