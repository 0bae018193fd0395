"""Interprets the cloud's refusals, and chooses where to try next. Pure: errors and texts in, values out.

The stock Pulumi provider hides the codes of operations' errors, so a refusal is recognized by the text that users see, and,
more reliably, by the batch's own operations (``read_failure``, given what ``Compute.failed_operations`` returns).
``message`` always has the original message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.errors import CloudError, PermissionDeniedError, QuotaError, StackError, StockoutError, UnreachableError
from runner.model import catalog
from runner.model.settings import Settings

STOCKOUT_CODES = ("ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS")
RATE_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
QUOTA_REASONS = frozenset({"quotaExceeded", "QUOTA_EXCEEDED"})
OTHER_SHAPE_FACTOR = 2  # a VM with more than twice the cores is no substitute

STOCKOUT_WORDS = re.compile(r"does not have enough resources available|ZONE_RESOURCE_POOL_EXHAUSTED")
_ZONE = re.compile(r"zones/([a-z]+-[a-z]+\d+-[a-z])\b")
_PROPOSED = re.compile(r"trying your request in the ([a-z0-9, -]+?) zone\(s\)")
_QUOTA = re.compile(
    r"Quota '(?P<metric>[^']+)' exceeded\.\s+Limit: (?P<limit>[\d.]+)(?: in region (?P<region>[a-z0-9-]+))?"
)
QUOTA_WORDS = re.compile(r"quotaExceeded|QUOTA_EXCEEDED|Quota '[^']+' exceeded")
RATE_WORDS = re.compile(r"rateLimitExceeded|userRateLimitExceeded|Error 429\b|RESOURCE_EXHAUSTED")
DENIED_WORDS = re.compile(r"Error 40[13]\b|PERMISSION_DENIED|Required '[^']+' permission")
_VM_LOST = (
    re.compile(r"reach desired status RUNNING: couldn't find resource"),
    re.compile(r"waiting for instance to create: The resource '(?:[^']*/)?instances/(?P<vm>[^'/]+)' was not found"),
    re.compile(r"expected non-empty ID for new state during Create of \S*gcp:compute/instance:Instance::(?P<vm>\S+)"),
    re.compile(r"IAM policy for compute instance \"(?:[^\"]*/)?(?P<vm>[^\"/]+)\".*?Error 404\b", re.DOTALL),
)

# Of an update that was deleting a VM or a resource that belongs to it.
_VM_NOT_FOUND = re.compile(r"Error 404\b.*?instances/(?P<vm>[^'/\"]+)' was not found", re.DOTALL)
ANY_VM = "?"


@dataclass(frozen=True, kw_only=True)
class Stockout:
    """A zone has no such VM available now: try another zone, or later. ``zones_available``: what Google proposes, perhaps nothing."""

    message: str
    zone: str = ""
    zones_available: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A quota is too small: use fewer VMs, or ask for more quota. Trying again does not help."""

    message: str
    metric: str = ""
    limit: float | None = None
    region: str = ""


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """Too many calls: repeat the call a little later."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Not allowed, or not logged in. Trying again does not help."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """VMs disappeared while they were being created, as spot VMs may at any time: each is a lost VM; the others are not affected."""

    message: str
    vms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Other:
    """None of the above. ``is_passing``: no answer, or a 5xx, which may not happen at the next try."""

    message: str
    is_passing: bool = False


Refusal = Stockout | Quota | RateLimit | Permission | Other | Lost


@dataclass(frozen=True, kw_only=True)
class FailedOperation:
    """An operation that ended with an error: its target, zone, time of the request (ISO 8601), and the reason."""

    kind: str
    target: str
    zone: str
    asked: str
    refusal: Refusal


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The zone and machine type of a request for VMs."""

    zone: str
    machine_type: str


def read_failure(operation: Mapping[str, Any]) -> FailedOperation | None:
    """Read a Compute operation's error; None if it has none, or is not done."""
    errors = (operation.get("error") or {}).get("errors") or []
    if not errors:
        return None
    zone = str(operation.get("zone", "")).rsplit("/", 1)[-1]
    return FailedOperation(
        kind=str(operation.get("operationType", "")),
        target=str(operation.get("targetLink", "")).rsplit("/", 1)[-1],
        zone=zone,
        asked=str(operation.get("insertTime", "")),
        refusal=_of_operation(errors[0], zone, str(operation.get("targetLink", ""))),
    )


def classify(error: BaseException, failed: Iterable[FailedOperation] = ()) -> Refusal:
    """Return what an error means; ``failed`` operations of the same attempt, if there are any, are more precise than its text.

    Of several refusals the one counts that another zone or machine type can cure: a stockout before a quota before the rest. ``Lost``
    is returned only if nothing else is reported; ``lost_vms`` names such VMs in any case.
    """
    known = [operation.refusal for operation in failed]
    return min([*known, _of_error(error)], key=_weight)


def read_lost_vm(text: str, resource: str = "") -> str:
    """Return the VM that, by this error text, disappeared while it was being created; '' if the text says something else.

    ``resource``: the resource for which the engine reported the error, since the text does not always name the VM.
    """
    found = next((match for pattern in _VM_LOST if (match := pattern.search(text))), None)
    return "" if found is None else (found.groupdict().get("vm") or resource)


def lost_vms(error: BaseException) -> tuple[str, ...]:
    """Return the VMs that disappeared while they were being created, whatever else failed in an update."""
    lost = [part.lost_vms for part in (error, error.__cause__) if isinstance(part, StackError)]
    return tuple(dict.fromkeys(name for names in lost for name in names))


def is_of_gone_vms(error: BaseException, *, is_gone: Callable[[str], bool]) -> bool:
    """Return whether the engine reports nothing but VMs that were not found, and these are indeed gone."""
    texts = next((part.diagnostics for part in (error, error.__cause__) if isinstance(part, StackError)), ())
    vms = [read_lost_vm(text, ANY_VM) or _read_vm_not_found(text) for text in texts]
    return bool(vms) and all(vm == ANY_VM or (vm and is_gone(vm)) for vm in vms)


def _read_vm_not_found(text: str) -> str:
    found = _VM_NOT_FOUND.search(text)
    return found["vm"] if found else ""


def next_placement(
    tried: Sequence[Placement], settings: Settings, zones_available: Sequence[str] = (), *, machine_type: str = ""
) -> Placement | None:
    """Return the place to try after those in ``tried`` (in that order) had no VMs available; None if all were tried.

    First every zone for the machine type that is wanted (``machine_type``, else that of the first place tried, else the
    settings'), then every zone for each type of the same shape. Zones that Google proposed go first, if they are allowed.
    """
    wanted = machine_type or (tried[0].machine_type if tried else settings.machine_type)
    zones = order_zones(settings, zones_available)
    candidates = (Placement(zone=zone, machine_type=name) for name in same_shape(wanted) for zone in zones)
    return next((placement for placement in candidates if placement not in tried), None)


def order_zones(settings: Settings, zones_available: Sequence[str] = ()) -> list[str]:
    """Return the zones to try. A list in the settings is exclusive; without one, any zone of the region will do."""
    proposed = [zone for zone in zones_available if zone.rsplit("-", 1)[0] == settings.region]
    if settings.zones:
        proposed = [zone for zone in proposed if zone in settings.zones]
    return list(dict.fromkeys([*proposed, *settings.zones_to_try]))


def same_shape(machine_type: str) -> list[str]:
    """Return this machine type, then its substitutes: at least as many cores, at most twice as many, at least as much memory; cheapest first."""
    wanted = catalog.MACHINE_TYPES[machine_type]
    others = [
        machine
        for machine in catalog.MACHINE_TYPES.values()
        if machine.name != machine_type
        and wanted.cores <= machine.cores <= OTHER_SHAPE_FACTOR * wanted.cores
        and machine.ram_gib >= wanted.ram_gib
    ]
    smallest: dict[str, catalog.MachineType] = {}
    for machine in sorted(others, key=lambda other: other.cores):
        smallest.setdefault(machine.name.rsplit("-", 1)[0], machine)
    ordered = sorted(smallest.values(), key=lambda machine: machine.price_usd_per_hour)
    return [machine_type, *(machine.name for machine in ordered)]


def _weight(refusal: Refusal) -> int:
    return (Stockout, Quota, Permission, RateLimit, Other, Lost).index(type(refusal))


def _of_operation(error: Mapping[str, Any], zone: str, target: str) -> Refusal:
    code, message = str(error.get("code", "")), str(error.get("message", ""))
    details = [detail for detail in error.get("errorDetails") or [] if isinstance(detail, Mapping)]
    if code in STOCKOUT_CODES:
        return Stockout(message=message, zone=zone, zones_available=_zones_available(details))
    if code in QUOTA_REASONS:
        return _quota(message, next((detail["quotaInfo"] for detail in details if "quotaInfo" in detail), {}))
    if code in ("RATE_LIMIT_EXCEEDED", "rateLimitExceeded"):
        return RateLimit(message=message)
    vm = target.rpartition("/instances/")[2]
    if code == "RESOURCE_NOT_FOUND" and vm and message.endswith(f"/instances/{vm}' was not found"):
        return Lost(message=message, vms=(vm,))
    refusal = _of_text(f"{code}: {message}")
    is_passing = code in ("INTERNAL_ERROR", "RESOURCE_OPERATION_RATE_EXCEEDED", "SERVICE_UNAVAILABLE")
    return Other(message=f"{message} ({code})", is_passing=is_passing) if isinstance(refusal, Other) else refusal


def _of_error(error: BaseException) -> Refusal:
    text = str(error)
    diagnostics = [error, error.__cause__]
    texts = [text, *(line for part in diagnostics if isinstance(part, StackError) for line in part.diagnostics)]
    if isinstance(error, StockoutError):
        parsed = _of_text(text)
        zone = parsed.zone if isinstance(parsed, Stockout) else ""
        proposed = parsed.zones_available if isinstance(parsed, Stockout) else ()
        return Stockout(message=text, zone=zone, zones_available=error.zones_available or proposed)
    if isinstance(error, CloudError):
        return _of_cloud_error(error, text)
    refusal = min(map(_of_text, texts), key=_weight)
    return replace(refusal, vms=lost_vms(error) or refusal.vms) if isinstance(refusal, Lost) else refusal


def _of_cloud_error(error: CloudError, text: str) -> Refusal:
    if error.reason in RATE_REASONS or (error.status == 429 and error.reason not in QUOTA_REASONS):
        return RateLimit(message=text)
    if isinstance(error, QuotaError) or error.reason in QUOTA_REASONS:
        return _quota(text, {})
    if isinstance(error, PermissionDeniedError):
        return Permission(message=text)
    if isinstance(error, UnreachableError) or error.status >= 500:
        return Other(message=text, is_passing=True)
    return _of_text(text)


def _of_text(text: str) -> Refusal:
    if STOCKOUT_WORDS.search(text):
        zone, proposed = _ZONE.search(text), _PROPOSED.search(text)
        zones = tuple(part.strip() for part in proposed[1].split(",")) if proposed else ()
        return Stockout(message=text, zone=zone[1] if zone else "", zones_available=zones)
    if QUOTA_WORDS.search(text):
        return _quota(text, {})
    if RATE_WORDS.search(text):
        return RateLimit(message=text)
    if DENIED_WORDS.search(text):
        return Permission(message=text)
    if any(pattern.search(text) for pattern in _VM_LOST):
        vm = read_lost_vm(text)
        return Lost(message=text, vms=(vm,) if vm else ())
    return Other(message=text)


def _quota(message: str, facts: Mapping[str, Any]) -> Quota:
    """Read metric, limit and region: from the message, else from the details."""
    found = _QUOTA.search(message)
    if found:
        limit = float(found["limit"].rstrip("."))
        return Quota(message=message, metric=found["metric"], limit=limit, region=found["region"] or "")
    limit_told = facts.get("limit")
    return Quota(
        message=message,
        metric=str(facts.get("metricName", "")).rsplit("/", 1)[-1].upper(),
        limit=None if limit_told is None else float(limit_told),
        region=str((facts.get("dimensions") or {}).get("region", "")),
    )


def _zones_available(details: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    for detail in details:
        zones = ((detail.get("errorInfo") or {}).get("metadatas") or {}).get("zonesAvailable", "")
        if zones:
            return tuple(zone.strip() for zone in str(zones).split(",") if zone.strip())
    return ()
