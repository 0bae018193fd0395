"""Compute Engine as we need it: find by label, read, delete. Pulumi creates resources (``stacks.contract``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from runner.errors import NotFoundError
from runner.google.operations import Operations
from runner.google.rest import Api, Json, segment
from runner.model import names
from runner.model.leftover import SWITCHED_OFF
from runner.model.quota import RegionQuota
from runner.model.stockout import FailedOperation, read_failure

GOING = frozenset({"STOPPING", "SUSPENDING"})
SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A VM as the cloud reports it. ``status``: Google's word (RUNNING, TERMINATED…). ``address``: external, else internal.

    ``ends``: when the cloud itself deletes it (``maxRunDuration``); None if it does not. ``disk_gib``: its disks
    together, 0 if unknown.
    """

    name: str
    zone: str
    status: str
    machine_type: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    provisioning: str = ""
    ends: datetime | None = None
    disk_gib: int = 0

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self.status == "RUNNING"

    @property
    def is_going(self) -> bool:
        """Whether it is shutting down, and may still be running its shutdown script."""
        return self.status in GOING

    @property
    def is_off(self) -> bool:
        """Whether it is switched off, so that only its disk costs something. The memory of a suspended one is kept, which costs too."""
        return self.status in SWITCHED_OFF

    @property
    def has_ended(self) -> bool:
        """Whether it no longer works, or will soon stop."""
        return self.is_going or self.is_off or self.status == SUSPENDED


@dataclass(frozen=True, kw_only=True)
class Image:
    """A custom image as the cloud reports it. ``disk_gib``: the least size of a disk created from it; ``size_gib``: what is billed."""

    name: str
    family: str
    status: str
    created: str
    size_gib: float
    disk_gib: int
    labels: Mapping[str, str]
    deprecated: bool

    @property
    def self_path(self) -> str:
        """The image's name below its project."""
        return f"global/images/{self.name}"

    @property
    def format(self) -> int:
        """The version of our programs in it, see ``names.IMAGE_FORMAT``; images without that label have 1."""
        text = self.labels.get(names.IMAGE_FORMAT_LABEL, "")
        return int(text) if text.isascii() and text.isdecimal() else 1


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation on a resource, by us or by the cloud itself. Times are RFC 3339, as the cloud reports them.

    ``kind``: Google's word (insert, delete, compute.instances.preempted…). ``error``: why it failed.
    """

    name: str
    kind: str
    started: str
    ended: str
    user: str
    error: str


class Compute:
    """The Compute API of one project.

    Reads are idempotent. Deletes are idempotent: what no longer exists is no error. Every call may raise CloudError.
    """

    def __init__(self, api: Api, project: str) -> None:
        self._api = api
        self._project = f"projects/{segment(project)}"
        self._operations = Operations(api, project)

    def instances(self, labels: Mapping[str, str]) -> list[Instance]:
        """Return the instances of all zones that have all these labels."""
        return [_instance(item) for _, item in self._aggregated("instances", labels)]

    def instance(self, zone: str, name: str) -> Instance | None:
        """Return one instance, or None if there is none of that name."""
        try:
            return _instance(self._api.get(self._instance_path(zone, name)))
        except NotFoundError:
            return None

    def delete_instance(self, zone: str, name: str) -> None:
        """Delete an instance and wait until it is gone. Does nothing if it no longer exists."""
        self._operations.delete(f"zones/{segment(zone)}/instances/{segment(name)}")

    def simulate_maintenance(self, zone: str, name: str) -> None:
        """Simulate a maintenance event: a spot VM is preempted. Returns when that is requested, not done."""
        self._api.post(f"{self._instance_path(zone, name)}/simulateMaintenanceEvent")

    def guest_attributes(self, zone: str, name: str, namespace: str) -> dict[str, str]:
        """Return the guest attributes of a namespace; empty as long as there are none."""
        try:
            path = f"{self._instance_path(zone, name)}/getGuestAttributes"
            answer = self._api.get(path, queryPath=f"{namespace}/")
        except NotFoundError:
            return {}
        items = answer.get("queryValue", {}).get("items", [])
        return {str(item["key"]): str(item.get("value", "")) for item in items}

    def serial_output(self, zone: str, name: str) -> str:
        """Return what the instance wrote to its first serial port."""
        answer = self._api.get(f"{self._instance_path(zone, name)}/serialPort")
        return str(answer.get("contents", ""))

    def images(self, family: str) -> list[Image]:
        """Return the images of a family, newest first."""
        items = self._api.items(f"{self._project}/global/images", filter=f"family={family}")
        return sorted((_image(item) for item in items), key=lambda image: image.created, reverse=True)

    def newest_image(self, family: str) -> Image | None:
        """Return the image that the family stands for: ready, not deprecated, newest."""
        usable = [image for image in self.images(family) if image.status == "READY" and not image.deprecated]
        return usable[0] if usable else None

    def deprecate_image(self, name: str, *, replacement: str) -> None:
        """Mark an image as superseded by ``replacement``; it stays usable by name."""
        body = {"state": "DEPRECATED", "replacement": f"{self._project}/global/images/{replacement}"}
        self._operations.wait(self._api.post(f"{self._project}/global/images/{segment(name)}/deprecate", body))

    def read_quotas(self, region: str) -> list[RegionQuota]:
        """Return the quotas of a region: CPUS, PREEMPTIBLE_CPUS, IN_USE_ADDRESSES, SSD_TOTAL_GB, INSTANCES…, with their present use."""
        answer = self._api.get(f"{self._project}/regions/{segment(region)}")
        return [
            RegionQuota(metric=str(one["metric"]), limit=float(one["limit"]), usage=float(one.get("usage", 0.0)))
            for one in answer.get("quotas", [])
        ]

    def failed_operations(self, names_of_vms: Collection[str], *, since: datetime) -> list[FailedOperation]:
        """Return the failed operations on these VMs since then, newest first: the codes and details that the Pulumi provider does not show."""
        path = f"{self._project}/aggregated/operations"
        wanted = "operationType=insert AND status=DONE"
        found = [
            failed
            for page in self._api.partial_pages(path, filter=wanted)
            for scope in page.get("items", {}).values()
            for operation in scope.get("operations", [])
            if (failed := read_failure(operation)) is not None and failed.target in names_of_vms
        ]
        recent = [failed for failed in found if datetime.fromisoformat(failed.asked) >= since]
        return sorted(recent, key=lambda failed: datetime.fromisoformat(failed.asked), reverse=True)

    def look_up(self, scope: str, collection: str, name: str) -> Json | None:
        """Return one resource as the cloud reports it; None if there is none. ``scope``: ``zones/Z``, ``regions/R`` or ``global``."""
        try:
            return self._api.get(f"{self._project}/{scope}/{collection}/{segment(name)}")
        except NotFoundError:
            return None

    def operations_on(self, zone: str, instance: str) -> list[Operation]:
        """Return the operations on an instance, oldest first. Google keeps them for some days."""
        path = f"{self._project}/zones/{segment(zone)}/operations"
        found = self._api.items(path, filter=f"targetLink eq .*/instances/{instance}")
        return sorted((_operation(item) for item in found), key=lambda operation: operation.started)

    def check_project(self) -> None:
        """Read the project itself: the cheapest check of cloud, project and credentials.

        Raises:
            NotFoundError: there is no such project.
        """
        try:
            self._api.get(self._project)
        except NotFoundError as error:
            name = self._project.removeprefix("projects/")
            remedy = "correct `project` in the settings (invoke setup) or in OPENSEES_HPC_PROJECT"
            raise NotFoundError(f"the cloud has no project {name}", status=404, remedy=remedy) from error

    def _instance_path(self, zone: str, name: str) -> str:
        return f"{self._project}/zones/{segment(zone)}/instances/{segment(name)}"

    def _aggregated(self, kind: str, labels: Mapping[str, str]) -> Iterator[tuple[str, Json]]:
        """Yield scope and item of an aggregated list."""
        path = f"{self._project}/aggregated/{kind}"
        for page in self._api.whole_pages(path, filter=names.label_filter(labels)):
            for scope, found in page.get("items", {}).items():
                for item in found.get(kind, []):
                    yield scope, item


def _instance(item: Mapping[str, Any]) -> Instance:
    network = (item.get("networkInterfaces") or [{}])[0]
    external = (network.get("accessConfigs") or [{}])[0].get("natIP", "")
    return Instance(
        name=str(item["name"]),
        zone=_last(item.get("zone", "")),
        status=str(item.get("status", "UNKNOWN")),
        machine_type=_last(item.get("machineType", "")),
        address=str(external or network.get("networkIP", "")),
        labels=dict(item.get("labels", {})),
        created=str(item.get("creationTimestamp", "")),
        provisioning=str(item.get("scheduling", {}).get("provisioningModel", "STANDARD")).lower(),
        ends=_end_of_run(item),
        disk_gib=sum(int(disk.get("diskSizeGb", 0)) for disk in item.get("disks", [])),
    )


def _end_of_run(item: Mapping[str, Any]) -> datetime | None:
    """Return the time that the cloud reports, else ``maxRunDuration`` after the last start."""
    reported = item.get("resourceStatus", {}).get("scheduling", {}).get("terminationTimestamp")
    if reported:
        return datetime.fromisoformat(reported)
    seconds = item.get("scheduling", {}).get("maxRunDuration", {}).get("seconds")
    began = item.get("lastStartTimestamp") or item.get("creationTimestamp")
    if not (seconds and began):
        return None
    return datetime.fromisoformat(began) + timedelta(seconds=float(seconds))


def _operation(item: Mapping[str, Any]) -> Operation:
    errors = item.get("error", {}).get("errors", [])
    return Operation(
        name=str(item.get("name", "")),
        kind=str(item.get("operationType", "")),
        started=str(item.get("insertTime", "")),
        ended=str(item.get("endTime", "")),
        user=str(item.get("user", "")),
        error="; ".join(f"{error.get('code', '')} {error.get('message', '')}".strip() for error in errors),
    )


def _image(item: Mapping[str, Any]) -> Image:
    return Image(
        name=str(item["name"]),
        family=str(item.get("family", "")),
        status=str(item.get("status", "")),
        created=str(item.get("creationTimestamp", "")),
        size_gib=float(item.get("archiveSizeBytes", 0)) / 2**30,
        disk_gib=int(item.get("diskSizeGb", 0)),
        labels=dict(item.get("labels", {})),
        deprecated=item.get("deprecated", {}).get("state") in ("DEPRECATED", "OBSOLETE", "DELETED"),
    )


def _last(url: str) -> str:
    return url.rsplit("/", 1)[-1]
