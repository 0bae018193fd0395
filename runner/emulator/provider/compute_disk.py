"""Disks and images."""

from __future__ import annotations

from runner.emulator.provider.compute import ROOT, ComputeOperations, set_labels, without_empty
from runner.emulator.provider.links import relative, same_image, same_link, same_name, tail
from runner.emulator.provider.resource import Cloud, Edit, ProviderError, ResourceType
from runner.emulator.provider.rest import Answer
from runner.emulator.provider.schema import (
    Field,
    all_fields,
    block,
    collection,
    labels,
    listing,
    location,
    number,
    output,
    outputs,
    project,
    resource_name,
    text,
)
from runner.emulator.provider.values import Properties


def resolve_image(cloud: Cloud, project: str, said: str) -> str:
    """Return the partial link of an image or family; the cloud is asked only if the reference is ambiguous."""
    link = relative(said)
    if link.startswith("projects/"):
        return link
    if said.startswith("global/images/"):
        return f"projects/{project}/{said}"
    if said.startswith("family/"):
        return f"projects/{project}/global/images/{said}"
    *other, name = said.split("/")
    home = f"projects/{other[0] if other else project}/global/images"
    for candidate in (f"{home}/{name}", f"{home}/family/{name}"):
        if cloud.rest.find(ROOT + candidate) is not None:
            return candidate
    raise ProviderError(f"Could not find image or family {said}")


def disk_type_link(project: str, zone: str, said: str) -> str:
    """Return the partial link of a disk type."""
    return relative(said) if "/" in said else f"projects/{project}/zones/{zone}/diskTypes/{said}"


def disk_link(project: str, zone: str, said: str) -> str:
    """Return the partial link of a disk."""
    return relative(said) if "/" in said else f"projects/{project}/zones/{zone}/disks/{said}"


def _whole(found: Answer, key: str) -> int | None:
    return int(found[key]) if found.get(key) not in (None, "") else None


def _features() -> Field:
    return collection(block({"type": text(required=True)}), computed=True, replace=True)


class DiskOperations(ComputeOperations):
    """compute.Disk."""

    collection, level, noun = "disks", "zone", "Disk"
    labelled = True

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        project, zone = cloud.location_of(news, "project"), cloud.location_of(news, "zone")
        image, snapshot = news.get("image"), news.get("snapshot")
        return without_empty(
            {
                "name": news["name"],
                "description": news.get("description"),
                "labels": cloud.labels(news),
                "sizeGb": news.get("size"),
                "sourceImage": resolve_image(cloud, project, image) if image else None,
                "sourceSnapshot": relative(snapshot) if snapshot else None,
                "type": disk_type_link(project, zone, news["type"]),
                "zone": f"projects/{project}/global/zones/{zone}",
            }
        )

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        outputs = {
            key: found.get(key) for key in ("description", "users", "architecture", "accessMode", "sourceImageId")
        }
        return outputs | {
            "size": _whole(found, "sizeGb"),
            "type": tail(found["type"]) if found.get("type") else None,
            "image": found.get("sourceImage"),
            "snapshot": found.get("sourceSnapshot"),
            "diskId": found.get("id"),
            "physicalBlockSizeBytes": _whole(found, "physicalBlockSizeBytes"),
            "creationTimestamp": found.get("creationTimestamp"),
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        set_labels(cloud, id, edit)
        if edit.touches("size"):
            if edit.news["size"] < edit.olds.get("size", 0):
                raise ProviderError(f"Error updating Disk: {id} cannot shrink to {edit.news['size']} GB")
            self.act(cloud, id, "resize", {"sizeGb": edit.news["size"]})

    def delete(self, cloud: Cloud, id: str, state: Properties) -> None:
        found = self.fetch(cloud, id)
        if found is None:
            return
        for user in found.get("users", []):
            self._detach(cloud, relative(user), id)
        super().delete(cloud, id, state)

    def _detach(self, cloud: Cloud, instance: str, id: str) -> None:
        there = cloud.rest.find(ROOT + instance) or {}
        for attached in there.get("disks", []):
            if relative(attached.get("source", "")) == id:
                self.act(cloud, instance, "detachDisk", deviceName=attached["deviceName"])


DISK = ResourceType(
    token="gcp:compute/disk:Disk",  # noqa: S106
    operations=DiskOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        location("zone", same_name),
        labels(),
        {
            "description": text(replace=True),
            "image": text(replace=True, same=same_image),
            "snapshot": text(replace=True, same=same_link),
            "size": number(computed=True),
            "type": text(default="pd-standard", replace=True, same=same_name),
            "architecture": text(computed=True, replace=True),
            "accessMode": text(computed=True),
            "physicalBlockSizeBytes": number(computed=True, replace=True),
            "users": output(listing(text())),
        },
        outputs("selfLink", "diskId", "labelFingerprint", "sourceImageId", "creationTimestamp"),
    ),
)


class ImageOperations(ComputeOperations):
    """compute.Image."""

    collection, noun = "images", "Image"
    labelled = True
    _PLAIN = ("name", "description", "family", "diskSizeGb", "guestOsFeatures", "licenses", "storageLocations")
    _SOURCES = ("sourceDisk", "sourceImage", "sourceSnapshot")

    def problems(self, news: Properties) -> list[str]:
        if not any(key in news for key in self._SOURCES):
            return [f"one of {', '.join(self._SOURCES)} must be specified"]
        return []

    def body(self, cloud: Cloud, news: Properties) -> Answer:
        project = cloud.location_of(news, "project")
        sources = {key: relative(news[key]) for key in self._SOURCES if key in news}
        if "sourceDisk" in sources:
            sources["sourceDisk"] = disk_link(project, cloud.settings.zone, sources["sourceDisk"])
        plain = {key: news.get(key) for key in self._PLAIN}
        return without_empty(plain | sources | {"labels": cloud.labels(news)})

    def state(self, cloud: Cloud, found: Answer, prior: Properties) -> Properties:
        features = [{"type": feature.get("type")} for feature in found.get("guestOsFeatures", [])]
        outputs = {
            key: found.get(key) for key in ("description", "family", "storageLocations", "licenses", *self._SOURCES)
        }
        return outputs | {
            "diskSizeGb": _whole(found, "diskSizeGb"),
            "archiveSizeBytes": _whole(found, "archiveSizeBytes"),
            "guestOsFeatures": features,
            "creationTimestamp": found.get("creationTimestamp"),
        }

    def update(self, cloud: Cloud, id: str, edit: Edit) -> None:
        set_labels(cloud, id, edit)


IMAGE = ResourceType(
    token="gcp:compute/image:Image",  # noqa: S106
    operations=ImageOperations(),
    fields=all_fields(
        resource_name(),
        project(),
        labels(),
        {
            "description": text(replace=True),
            "family": text(replace=True),
            "sourceDisk": text(replace=True, same=same_link, conflicts=("sourceImage", "sourceSnapshot")),
            "sourceImage": text(replace=True, same=same_link, conflicts=("sourceSnapshot",)),
            "sourceSnapshot": text(replace=True, same=same_link),
            "diskSizeGb": number(computed=True, replace=True),
            "storageLocations": listing(text(), computed=True, replace=True),
            "licenses": listing(text(), computed=True, replace=True),
            "guestOsFeatures": _features(),
            "archiveSizeBytes": output(number()),
        },
        outputs("selfLink", "labelFingerprint", "creationTimestamp"),
    ),
)
