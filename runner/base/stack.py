"""The stack ``base``: created when it is missing, after asking where that costs something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from runner.context import Context
from runner.errors import DeclinedError, InputError
from runner.model import names
from runner.model.settings import IAP_RANGE, is_within
from runner.stacks import StackSpec, report_stack_progress

Outputs = Mapping[str, Any]


def base_spec(context: Context, wanted: Mapping[str, Any]) -> StackSpec:
    """Return the stack ``base`` with these settings of its own, in our project and region."""
    settings = context.settings
    location = {
        "gcp:project": settings.project,
        "gcp:region": settings.region,
        "gcp:zone": settings.zones_to_try[0],
    }
    ours = {
        f"{names.CONFIG_NAMESPACE}:{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in wanted.items()
    }
    return StackSpec(project="base", name=names.BASE_STACK, config=location | ours)


def wanted_settings(context: Context, base: Outputs | None) -> dict[str, Any]:
    """Return the settings that the stack ``base`` needs for this user: those that it has, this operator and these addresses.

    No other operator or address is removed, as their batches may be running. ``base``: its outputs, None if it does not exist.

    Raises:
        InputError: the stack is in another region, or no VM could be reached.
    """
    ours = context.settings
    if base:
        _check_region(context, str(base.get("region", ours.region)))
    known = base.get("settings") if base else None
    wanted: dict[str, Any] = {"owner": ours.owner} if known is None else dict(known)
    if not (base and "self_delete_role" in base) and ours.self_delete_role_id != names.SELF_DELETE_ROLE_ID:
        wanted["self_delete_role_id"] = ours.self_delete_role_id
    ranges = list(wanted.get("ssh_ranges", []))
    if new := [item for item in ours.ssh_source_ranges if not is_within(item, ranges)]:
        wanted["ssh_ranges"] = [*(ranges or ([] if known is None else [IAP_RANGE])), *new]
    operators = list(wanted.get("operators", []))
    is_by_group = any(member.startswith("group:") for member in operators)
    if not context.is_local and not is_by_group and ours.principal not in operators:
        wanted["operators"] = [*operators, ours.principal]
    _check_reachable(context, wanted.get("ssh_ranges", []))
    return wanted


def _check_region(context: Context, region: str) -> None:
    settings = context.settings
    if region != settings.region:
        raise InputError(
            f"the bucket and network of project {settings.project} are in region {region}; the settings say {settings.region}",
            remedy=f"set region and zones to those of {region}, or first delete what exists, with that region in the "
            "settings: invoke cleanup --everything --results",
        )


def _check_reachable(context: Context, ranges: list[str]) -> None:
    """Refuse a firewall that admits only IAP, Google's tunnel: commands connect to VMs directly."""
    if not context.is_local and all(is_within(item, [IAP_RANGE]) for item in ranges):
        raise InputError(
            "no address may reach the VMs by SSH: ssh_source_ranges is empty, or has only Google's IAP range",
            remedy="invoke setup --ssh-from YOUR.ADDRESS/32",
        )


def begin_reading_base(context: Context) -> Future[Outputs | None]:
    """Begin to read the outputs of the stack ``base`` in the background: the engine takes half a second."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="base")
    read = pool.submit(context.cloud.stacks.outputs, "base", names.BASE_STACK)
    pool.shutdown(wait=False)
    return read


def ensure_base(context: Context, known: Outputs | None = None) -> Outputs:
    """Return the outputs of the stack ``base``, created if its bucket is not there, and brought up to date if it is of an
    older version or does not admit this operator or these addresses. ``known``: the outputs, where they were read just now.

    Raises:
        InputError: the settings do not fit it.
        DeclinedError: it is missing or out of date, and the user declined to change that.
        StackError: it could not be created.
    """
    if known and _serves(context, known):
        return known
    base = context.cloud.stacks.outputs("base", names.BASE_STACK)  # once more: another command may have changed it
    wanted = wanted_settings(context, base)
    if base and _serves(context, base):
        return base
    if not context.is_local and not context.listener.on_confirm(_question(context, base, wanted)):
        raise DeclinedError(
            "the stack base is missing or out of date", remedy="confirm, give --yes, or run `pulumi up` in infra/base"
        )
    return context.cloud.stacks.up(
        base_spec(context, wanted), report_stack_progress(context.listener, names.BASE_STACK)
    )


def _serves(context: Context, base: Outputs) -> bool:
    lets_vms_go = base.get("self_delete_condition") == names.self_delete_condition()
    is_as_wanted = lets_vms_go and base.get("settings") == wanted_settings(context, base)
    return is_as_wanted and context.cloud.results.exists()


def _question(context: Context, base: Outputs | None, wanted: Mapping[str, Any]) -> str:
    project = context.settings.project
    known = base.get("settings") if base else None
    if known is None or known == wanted or not (base and "self_delete_role" in base):
        return (
            f"Project {project} has no opensees-hpc bucket, service account and network yet, or they are from an older "
            "version. Create them?"
        )
    ranges = [item for item in wanted.get("ssh_ranges", []) if item not in known.get("ssh_ranges", [IAP_RANGE])]
    operators = [item for item in wanted.get("operators", []) if item not in known.get("operators", [])]
    who = [f"from {item}" for item in ranges] + [f"by {item}" for item in operators]
    return f"Allow SSH {', '.join(who)} to VMs in project {project}?"
