"""The stack ``base``: made when it is missing, after asking where that costs something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from runner.commands.context import Context
from runner.commands.events import Listener
from runner.commands.progress import tell_stack_progress
from runner.core.stacks import StackSpec
from runner.errors import DeclinedError
from runner.model import names


def base_spec(context: Context) -> StackSpec:
    """The settings of the stack ``base`` that follow from ours."""
    settings = context.settings
    config = {
        "gcp:project": settings.project,
        "gcp:region": settings.region,
        "gcp:zone": settings.zones_to_try[0],
        f"{names.CONFIG_NAMESPACE}:owner": settings.owner,
    }
    lists = {
        "ssh_ranges": settings.ssh_source_ranges,
        "operators": [] if context.is_local else [settings.principal],
    }
    config |= {f"{names.CONFIG_NAMESPACE}:{key}": json.dumps(values) for key, values in lists.items() if values}
    return StackSpec(project="base", name=names.BASE_STACK, config=config)


Outputs = Mapping[str, Any]


def begin_reading_base(context: Context) -> Future[Outputs | None]:
    """Ask for the outputs of the stack ``base`` while something else is done: the engine takes half a second to say them."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="base")
    read = pool.submit(context.cloud.stacks.outputs, "base", names.BASE_STACK)
    pool.shutdown(wait=False)
    return read


def ensure_base(context: Context, listener: Listener, known: Outputs | None = None) -> Outputs:
    """The outputs of the stack ``base``, which is made if its bucket is not there, and brought up to date if it is of
    a version without the role by which VMs delete themselves. ``known``: the outputs, where they were read just now.

    Raises:
        DeclinedError: it is missing, and making it was not agreed to.
        StackError: it could not be made.
    """
    outputs = known or context.cloud.stacks.outputs("base", names.BASE_STACK)
    if outputs and "self_delete_role" in outputs and context.cloud.results.exists():
        return outputs
    question = (
        f"The project {context.settings.project} has no bucket, service account and network of ours yet, or they are of "
        "an older version. Make them?"
    )
    if not context.is_local and not listener.on_confirm(question):
        raise DeclinedError("the stack base is missing", remedy="agree, give --yes, or run `pulumi up` in infra/base")
    return context.cloud.stacks.up(base_spec(context), tell_stack_progress(listener, names.BASE_STACK))
