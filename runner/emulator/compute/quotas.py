"""Regional quotas: limits that can be set, and usage that is counted from the existing resources."""

from __future__ import annotations

from collections.abc import Mapping

from runner.emulator.compute.machine_types import MACHINE_TYPES, SSD_DISK_TYPES
from runner.emulator.compute.operation_records import Failure
from runner.emulator.state import Document, Store, region_of
from runner.emulator.wire import relative, tail

QUOTAS = "quotas/"

DEFAULT_LIMITS: Mapping[str, float] = {
    "CPUS": 512.0,
    "PREEMPTIBLE_CPUS": 512.0,
    "IN_USE_ADDRESSES": 64.0,
    "SSD_TOTAL_GB": 20480.0,
    "DISKS_TOTAL_GB": 20480.0,
    "INSTANCES": 128.0,
}

Needs = Mapping[str, float]


class Quotas:
    """Quotas of all regions. Limits are in the store; usage is never stored, so it is always correct."""

    def __init__(self, store: Store, project: str) -> None:
        self._store = store
        self._project = project

    def limits(self, region: str) -> dict[str, float]:
        return {**DEFAULT_LIMITS, **(self._store.get(QUOTAS + region) or {})}

    def set_limit(self, region: str, metric: str, limit: float) -> None:
        with self._store.edit(QUOTAS + region) as limits:
            limits[metric] = limit

    def usage(self, region: str, *, asking: str = "") -> dict[str, float]:
        """Count the usage. ``asking``: a resource that counts although it is not admitted yet; other waiting ones do not."""
        found = self._store.items(f"projects/{self._project}/zones/{region}")
        waiting = {key for key, document in found if document.get("status") == "PROVISIONING" and key != asking}
        used = dict.fromkeys(DEFAULT_LIMITS, 0.0)
        for key, document in found:
            if key in waiting or any(relative(user) in waiting for user in document.get("users", ())):
                continue
            kind = key.split("/")[4] if key.count("/") == 5 else ""
            for metric, amount in _needs_of(kind, document).items():
                used[self._counted_as(region, metric)] += amount
        return used

    def documents(self, region: str) -> list[Document]:
        """Return the ``quotas`` of a region's document."""
        used = self.usage(region)
        return [
            {"metric": metric, "limit": limit, "usage": used.get(metric, 0.0)}
            for metric, limit in self.limits(region).items()
        ]

    def shortage(self, region: str, *, asking: str) -> Failure | None:
        """Return the failure for the first quota that the existing resources and ``asking`` (already in the store) exceed."""
        limits = self.limits(region)
        for metric, amount in self.usage(region, asking=asking).items():
            if amount > limits[metric]:
                return quota_failure(metric, limits[metric], region)
        return None

    def _counted_as(self, region: str, metric: str) -> str:
        """Return the metric that counts: without a quota of their own, Spot VMs count like the others."""
        return "CPUS" if metric == "PREEMPTIBLE_CPUS" and not self.limits(region)[metric] else metric


def _needs_of(kind: str, document: Document) -> Needs:
    count = {"instances": instance_needs, "disks": disk_needs}.get(kind)
    return count(document) if count else {}


def instance_needs(instance: Document) -> Needs:
    """Return what an instance needs; a stopped one needs neither CPUs nor addresses."""
    if instance["status"] == "TERMINATED":
        return {"INSTANCES": 1.0}
    vcpus = float(MACHINE_TYPES[tail(instance["machineType"])].vcpus)
    addresses = sum(len(nic.get("accessConfigs", ())) for nic in instance["networkInterfaces"])
    metric = "PREEMPTIBLE_CPUS" if instance["scheduling"]["preemptible"] else "CPUS"
    return {"INSTANCES": 1.0, metric: vcpus, "IN_USE_ADDRESSES": float(addresses)}


def disk_needs(disk: Document) -> Needs:
    metric = "SSD_TOTAL_GB" if tail(disk["type"]) in SSD_DISK_TYPES else "DISKS_TOTAL_GB"
    return {metric: float(disk["sizeGb"])}


def quota_failure(metric: str, limit: float, region: str) -> Failure:
    """Return the failure of an operation that exceeded a quota."""
    info = {
        "metricName": f"compute.googleapis.com/{metric.lower()}",
        "limitName": f"{metric.replace('_', '-')}-per-project-region",
        "dimensions": {"region": region},
        "limit": limit,
    }
    return Failure(
        code="QUOTA_EXCEEDED",
        message=f"Quota '{metric}' exceeded.  Limit: {limit:.1f} in region {region}.",
        details=[{"quotaInfo": info}],
        http_status=403,
        http_message="FORBIDDEN",
    )


def stockout_failure(project: str, zone: str, machine_type: str, fault: Document) -> Failure:
    """Return the failure of a zone without capacity, with or without Google's suggestion of other zones."""
    message = (
        f"The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the request.  "
    )
    if not fault["details"]:
        return Failure(
            code="ZONE_RESOURCE_POOL_EXHAUSTED",
            message=message + "Try a different zone, or try again later.",
            http_status=503,
            http_message="SERVICE UNAVAILABLE",
        )
    return Failure(
        code="ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        message=message + "'(resource type:compute)'.",
        details=_stockout_details(zone, machine_type, fault["zones_available"]),
        http_status=503,
        http_message="SERVICE UNAVAILABLE",
    )


def _stockout_details(zone: str, machine_type: str, zones_available: list[str]) -> list[Document]:
    proposal = f" Consider trying your request in the {', '.join(zones_available)} zone(s)." if zones_available else ""
    message = (
        f"A {machine_type} VM instance is currently unavailable in the {zone} zone.{proposal} Alternatively, you can try "
        "your request again with a different VM hardware configuration or at a later time. For more information, see the "
        "troubleshooting documentation."
    )
    where = {"attachment": "", "vmType": machine_type, "zone": zone, "zonesAvailable": ",".join(zones_available)}
    address = "https://cloud.google.com/compute/docs/resource-error"
    return [
        {"help": {"links": [{"description": "Troubleshooting documentation", "url": address}]}},
        {"localizedMessage": {"locale": "en-US", "message": message}},
        {"errorInfo": {"reason": "resource_availability", "domain": "compute.googleapis.com", "metadatas": where}},
    ]


def failure_for_fault(fault: Document, zone: str) -> Failure:
    """Return the failure that a ``quota`` fault defines."""
    return quota_failure(fault["metric"], float(fault["limit"]), region_of(zone))
