"""``invoke status``: what exists, asked of the cloud itself, not remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from runner.context import Context
from runner.errors import CloudError, NotFoundError
from runner.google import Image, Instance
from runner.model import catalog, names
from runner.model.leftover import Item, Kind
from runner.model.plan import price_per_hour
from runner.teardown import find_expired, item_of


def execute(context: Context) -> dict[str, Any]:
    """Return JSON values: ``target, project, image, vms, without_vm, batches, bucket, cost``; lists may be empty.

    ``without_vm`` are disks and addresses that none of these VMs has: they are billed, too. ``expired`` of each of
    these resources says why ``cleanup`` would delete it, or is empty.

    Raises:
        CloudError: the cloud does not answer, or not to us. What could not be read is never shown as absent.
    """
    cloud, settings = context.cloud, context.settings
    cloud.open()
    instances = cloud.compute.instances({"app": names.APP})
    image = cloud.compute.newest_image(names.IMAGE_FAMILY)
    try:
        use = cloud.results.use()
        bucket_exists = True
    except NotFoundError:
        use, bucket_exists = [], False
    items = [*map(item_of, instances), *_find_beside(context)]
    reasons = find_expired(context, items)
    vms = [
        _vm(instance, settings.disk_gib, is_local=context.is_local)
        | {"expired": reasons.get(item_of(instance).key, "")}
        for instance in instances
    ]
    without_vm = [
        _resource(item, is_local=context.is_local) | {"expired": reasons.get(item.key, "")}
        for item in _without_vm(items, instances)
    ]
    prices = [item["usd_per_hour_at_most"] for item in (*vms, *without_vm)]
    of_batches = {str(item["batch"]) for item in (*vms, *without_vm) if item["batch"]}
    batches = sorted(of_batches | set(cloud.stacks.names("analysis")))
    return {
        "target": settings.target,
        "project": settings.project,
        "image": None if image is None else _image(image),
        "vms": vms,
        "without_vm": without_vm,
        "batches": [{"name": batch, "vms": [vm["name"] for vm in vms if vm["batch"] == batch]} for batch in batches],
        "bucket": {
            "name": cloud.results.bucket,
            "exists": bucket_exists,
            "batches": [{"name": item.batch, "objects": item.objects, "bytes": item.size_bytes} for item in use],
        },
        "cost": {
            "usd_per_hour_at_most": None if None in prices else round(sum(prices), 4),
            "price_region": catalog.PRICE_REGION,
            "price_date": catalog.PRICE_DATE,
        },
    }


def _vm(instance: Instance, usual_disk_gib: int, *, is_local: bool) -> dict[str, Any]:
    return {
        "name": instance.name,
        "zone": instance.zone,
        "status": instance.status,
        "machine_type": instance.machine_type,
        "provisioning": instance.provisioning,
        "address": instance.address,
        "batch": instance.labels.get("batch", ""),
        "bake": instance.labels.get("bake", ""),
        "owner": instance.labels.get("owner", ""),
        "expires": instance.labels.get("expires", ""),
        "created": instance.created,
        "usd_per_hour_at_most": 0.0
        if is_local
        else price_per_hour(
            instance.machine_type, disk_gib=instance.disk_gib or usual_disk_gib, is_off=instance.is_off
        ),
    }


def _find_beside(context: Context) -> Sequence[Item]:
    """Find our disks and addresses, and the leases of batches."""
    found = context.cloud.inventory.find((Kind.DISK, Kind.ADDRESS, Kind.CONTROL), {"app": names.APP})
    if found.unread:
        raise CloudError(f"could not be checked: {'; '.join(map(str, found.unread))}")
    return found.items


def _without_vm(items: Iterable[Item], instances: Sequence[Instance]) -> list[Item]:
    """Return the disks and addresses among them, except those whose price is part of a VM's."""
    vms = {f"{instance.zone}/{instance.name}" for instance in instances}
    kinds = (Kind.DISK, Kind.ADDRESS)
    return [item for item in items if item.kind in kinds and vms.isdisjoint(item.users)]


def _resource(item: Item, *, is_local: bool) -> dict[str, Any]:
    price = item.size_gib * catalog.DISK_USD_PER_GIB_HOUR
    if item.kind is Kind.ADDRESS:
        price = catalog.IDLE_ADDRESS_USD_PER_HOUR
    return {
        "kind": item.kind.value,
        "name": item.name,
        "location": item.location,
        "size_gib": item.size_gib,
        "batch": item.batch,
        "bake": item.bake,
        "owner": item.owner,
        "expires": item.labels.get("expires", ""),
        "usd_per_hour_at_most": 0.0 if is_local else round(price, 4),
    }


def _image(image: Image) -> dict[str, Any]:
    return {"name": image.name, "family": image.family, "created": image.created, "labels": dict(image.labels)}
