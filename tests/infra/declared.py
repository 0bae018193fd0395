"""Runs a program against Pulumi's mocks and returns what it declared."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks

LOCATION = {"gcp:project": "local-project", "gcp:region": "europe-west4", "gcp:zone": "europe-west4-a"}
BATCH = {"opensees-hpc:owner": "you", "opensees-hpc:expires": "20261122-1530"}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource as the engine would receive it; ``inputs`` are named as the provider names them."""

    type: str
    name: str
    inputs: Mapping[str, Any]


@dataclass
class Recorder(mocks.Mocks):
    """Answers like a provider that grants everything."""

    resources: list[Resource] = field(default_factory=list)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[Any, Any]]:
        self.resources.append(Resource(type=args.typ, name=args.name, inputs=args.inputs))
        given = {
            "email": f"{args.inputs.get('accountId')}@local-project.iam.gserviceaccount.com",
            "selfLink": f"https://www.googleapis.com/compute/v1/{args.typ}/{args.name}",
            "diskId": "4711",
        }
        if "roleId" in args.inputs:
            given["name"] = f"projects/local-project/roles/{args.inputs['roleId']}"
        return f"{args.name}-id", given | args.inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise AssertionError(f"a program asked for {args.token}, which slows every preview")


def declare_with_mocks(declare: Callable[[], None], *, stack: str, config: Mapping[str, str]) -> list[Resource]:
    """Everything that ``declare`` declares in this stack, in the order of declaration.

    Raises:
        pulumi.RunError: as the program does.
    """
    recorder = Recorder()

    def run() -> None:
        mocks.set_mocks(recorder, project="opensees-hpc-test", stack=stack, preview=False)
        pulumi.runtime.set_all_config(dict(config))
        mocks.test(declare)()  # type: ignore[no-untyped-call]

    with _event_loop():
        contextvars.copy_context().run(run)
    return recorder.resources


@contextlib.contextmanager
def _event_loop() -> Iterator[None]:
    """Yield an event loop, and one in each thread of its executor: Pulumi's mocks would create them, and never close them."""
    loops: list[asyncio.AbstractEventLoop] = []

    def open_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    open_loop()
    loops[0].set_default_executor(ThreadPoolExecutor(max_workers=4, initializer=open_loop))
    try:
        yield
    finally:
        loops[0].run_until_complete(loops[0].shutdown_default_executor())
        asyncio.set_event_loop(None)
        for loop in loops:
            loop.close()


def of_type(resources: list[Resource], suffix: str) -> list[Resource]:
    """Return the resources whose type ends so, as ``:Bucket``."""
    return [resource for resource in resources if resource.type.endswith(suffix)]
