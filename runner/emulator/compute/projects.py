"""The project itself, its common metadata, regions with quotas, zones, machine types, disk types."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runner.emulator.compute.machine_types import DISK_TYPES, MACHINE_TYPES, disk_type_document, machine_type_document
from runner.emulator.compute.resources import V1, ZONE, Parts
from runner.emulator.http import Call, Rule
from runner.emulator.state import REGIONS, Document, region_of
from runner.emulator.wire import (
    aggregated_document,
    api_errors,
    check_metadata,
    fresh_fingerprint,
    link,
    list_document,
    request_fields,
)

COMMON_METADATA = "project/common-metadata"
_EPOCH = "1969-12-31T16:00:00.000-08:00"


def common_metadata(parts: Parts) -> Document:
    """Return ``commonInstanceMetadata``, stored when it is first read so that its fingerprint is stable."""
    metadata = parts.store.get(COMMON_METADATA)
    if metadata is None:
        metadata = {"kind": "compute#metadata", "fingerprint": fresh_fingerprint()}
        parts.store.put(COMMON_METADATA, metadata)
    return metadata


class Projects:
    """``projects/p``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        return [
            Rule(method="GET", path=V1, act=self.get, permission="compute.projects.get"),
            Rule(
                method="POST",
                path=V1 + "/setCommonInstanceMetadata",
                act=self.set_metadata,
                permission="compute.projects.setCommonInstanceMetadata",
                fields=request_fields.METADATA,
            ),
        ]

    def get(self, call: Call) -> Document:
        settings = self._parts.settings
        return {
            "kind": "compute#project",
            "id": settings.project_number,
            "name": settings.project,
            "creationTimestamp": _EPOCH,
            "selfLink": link(f"projects/{settings.project}"),
            "commonInstanceMetadata": common_metadata(self._parts),
            "defaultServiceAccount": settings.default_account,
            "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        }

    def set_metadata(self, call: Call) -> Document:
        if call.body.get("fingerprint") != common_metadata(self._parts)["fingerprint"]:
            raise api_errors.stale_metadata()
        items = call.body.get("items") or []
        check_metadata(items, field="items")
        new: Document = {"kind": "compute#metadata", "fingerprint": fresh_fingerprint()}
        self._parts.store.put(COMMON_METADATA, {**new, **({"items": items} if items else {})})
        return self._parts.operations.begin(
            "compute.projects.setCommonInstanceMetadata", f"projects/{call.project}", user=call.caller.email
        )


class Locations:
    """Zones and regions."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def rules(self) -> list[Rule]:
        return [
            Rule(method="GET", path=V1 + "/zones", act=self.list_zones, permission="compute.zones.list"),
            Rule(method="GET", path=V1 + "/zones/{name}", act=self.get_zone, permission="compute.zones.get"),
            Rule(method="GET", path=V1 + "/regions", act=self.list_regions, permission="compute.regions.list"),
            Rule(method="GET", path=V1 + "/regions/{name}", act=self.get_region, permission="compute.regions.get"),
        ]

    def list_zones(self, call: Call) -> Document:
        zones = self._parts.settings.zones
        entries = [(zone, self._zone(call.project, zone)) for zone in zones]
        return list_document("zone", f"projects/{call.project}/zones", entries, call.query)

    def get_zone(self, call: Call) -> Document:
        if call.params["name"] not in self._parts.settings.zones:
            raise api_errors.not_found(call.resource)
        return self._zone(call.project, call.params["name"])

    def list_regions(self, call: Call) -> Document:
        entries = [(region, self._region(call.project, region)) for region in REGIONS]
        return list_document("region", f"projects/{call.project}/regions", entries, call.query)

    def get_region(self, call: Call) -> Document:
        if call.params["name"] not in REGIONS:
            raise api_errors.not_found(call.resource)
        return self._region(call.project, call.params["name"])

    def _zone(self, project: str, zone: str) -> Document:
        return {
            "kind": "compute#zone",
            "id": str(2100 + self._parts.settings.zones.index(zone)),
            "creationTimestamp": _EPOCH,
            "name": zone,
            "description": zone,
            "status": "UP",
            "region": link(f"projects/{project}/regions/{region_of(zone)}"),
            "selfLink": link(f"projects/{project}/zones/{zone}"),
        }

    def _region(self, project: str, region: str) -> Document:
        return {
            "kind": "compute#region",
            "id": str(1100 + list(REGIONS).index(region)),
            "creationTimestamp": _EPOCH,
            "name": region,
            "description": region,
            "status": "UP",
            "quotas": self._parts.quotas.documents(region),
            "zones": [link(f"projects/{project}/zones/{region}-{letter}") for letter in REGIONS[region]],
            "selfLink": link(f"projects/{project}/regions/{region}"),
        }


class ZoneTypes:
    """Machine types or disk types: the same in every zone."""

    def __init__(
        self, parts: Parts, name: str, kind: str, names: Iterable[str], make: Callable[[str, str, str], Document]
    ) -> None:
        self._parts = parts
        self._name = name
        self._kind = kind
        self._names = tuple(names)
        self._make = make

    def rules(self) -> list[Rule]:
        path = f"{ZONE}/{self._name}"
        reads = f"compute.{self._name}"
        return [
            Rule(method="GET", path=path, act=self.list_all, permission=f"{reads}.list"),
            Rule(method="GET", path=path + "/{name}", act=self.get, permission=f"{reads}.get"),
            Rule(method="GET", path=f"{V1}/aggregated/{self._name}", act=self.aggregate, permission=f"{reads}.list"),
        ]

    def list_all(self, call: Call) -> Document:
        path = f"projects/{call.project}/zones/{call.params['zone']}/{self._name}"
        return list_document(self._kind, path, self._entries(call.project, call.params["zone"]), call.query)

    def get(self, call: Call) -> Document:
        if call.params["name"] not in self._names:
            raise api_errors.not_found(call.resource)
        return self._make(call.project, call.params["zone"], call.params["name"])

    def aggregate(self, call: Call) -> Document:
        zones = self._parts.settings.zones
        entries = [entry for zone in zones for entry in self._entries(call.project, zone)]
        scopes = [f"zones/{zone}" for zone in zones]
        path = f"projects/{call.project}/aggregated/{self._name}"
        return aggregated_document(self._kind, self._name, path, entries, scopes, call.query)

    def _entries(self, project: str, zone: str) -> list[tuple[str, Document]]:
        return [
            (f"projects/{project}/zones/{zone}/{self._name}/{name}", self._make(project, zone, name))
            for name in self._names
        ]


def project_rules(parts: Parts) -> list[Rule]:
    return [
        *Projects(parts).rules(),
        *Locations(parts).rules(),
        *ZoneTypes(parts, "machineTypes", "machineType", MACHINE_TYPES, machine_type_document).rules(),
        *ZoneTypes(parts, "diskTypes", "diskType", DISK_TYPES, disk_type_document).rules(),
    ]
