"""Builds a disk's document from the body of an insert or from an instance's ``initializeParams``."""

from __future__ import annotations

from runner.emulator.compute.machine_types import DISK_TYPES
from runner.emulator.compute.references import References
from runner.emulator.state import Document, Store
from runner.emulator.wire import (
    api_errors,
    check_labels,
    check_name,
    compute_time,
    fresh_fingerprint,
    link,
    read_int,
    scope_of,
    tail,
    without_blanks,
)

_DROPPED = ("kind", "id", "selfLink", "creationTimestamp", "status", "labelFingerprint", "params", "zone")


def make_disk_document(
    body: Document, zone: str, store: Store, references: References, *, now: float, field: str = "resource"
) -> Document:
    """Build the document of a new disk, with status CREATING, and ``sourceImage`` as a link to a version.

    Raises:
        CloudError: the name, type, size or image is invalid, or a disk of that name exists.
    """
    name = check_name(body.get("name"), field=f"{field}.name")
    path = references.canonical(f"zones/{zone}/disks/{name}")
    check_labels(body.get("labels"), field=f"{field}.labels")
    disk_type = references.disk_type(body.get("type"), zone, field=f"{field}.type")
    if store.get(path) is not None:
        raise api_errors.already_exists(path)
    disk: Document = without_blanks({key: value for key, value in body.items() if key not in _DROPPED})
    disk.pop("sourceImage", None)
    least_gb = DISK_TYPES[tail(disk_type)][0]
    if body.get("sourceImage"):
        image_path, image = references.image(body["sourceImage"], field=f"{field}.sourceImage")
        disk.update(sourceImage=link(image_path), sourceImageId=image["id"])
        least_gb = max(least_gb, int(image["diskSizeGb"]))
    disk.update(
        kind="compute#disk",
        id=store.next_id(),
        name=name,
        creationTimestamp=compute_time(now),
        selfLink=link(path),
        zone=link(scope_of(path)),
        status="CREATING",
        sizeGb=_size_gb(body, least_gb, tail(disk_type), field),
        type=link(disk_type),
        labelFingerprint=fresh_fingerprint(),
        users=[],
        architecture="X86_64",
        physicalBlockSizeBytes="4096",
        accessMode="READ_WRITE_SINGLE",
        enableConfidentialCompute=False,
    )
    return disk


def _size_gb(body: Document, least_gb: int, disk_type: str, field: str) -> str:
    if not body.get("sizeGb"):
        return str(least_gb if body.get("sourceImage") else 100)
    size_gb, most_gb = read_int(body["sizeGb"], field=f"{field}.diskSizeGb"), DISK_TYPES[disk_type][1]
    if size_gb < least_gb:
        why = f"Requested disk size cannot be smaller than the image size ({least_gb} GB)."
        raise api_errors.invalid_field(f"{field}.diskSizeGb", size_gb, why)
    if size_gb > most_gb:
        raise api_errors.invalid_field(f"{field}.diskSizeGb", size_gb, f"Disk size cannot exceed {most_gb} GB.")
    return str(size_gb)
