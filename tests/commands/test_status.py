"""``invoke status``: everything that is billed is reported, and its price is an upper bound."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.commands import status
from runner.context import Cloud, Context
from runner.errors import CloudError, NotFoundError
from runner.google.compute import Instance
from runner.inventory.inventory import Findings, Unread
from runner.model import catalog, names
from runner.model.leftover import Item, Kind
from runner.model.plan import hourly_price
from runner.model.settings import Settings
from tests.support.small_cloud import SmallCompute, instance, small_context

BATCH = names.labels_of_batch("b1") | {"owner": "me", "expires": "20261122-1200"}
DISK_PRICE = catalog.DISK_USD_PER_GIB_HOUR


def disk(name: str, *users: str) -> Item:
    return Item(kind=Kind.DISK, name=name, location="europe-west4-a", labels=BATCH, users=users, size_gib=730)


class SmallInventory:
    """An inventory of a few resources."""

    def __init__(self, *items: Item, unread: tuple[Unread, ...] = ()) -> None:
        self.found = Findings(items=items, unread=unread)

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        return self.found


class NoBucket:
    bucket = "bucket"

    def use(self) -> list[Any]:
        raise NotFoundError("no bucket")


def google(folder: Path, inventory: SmallInventory, *instances: Instance, batches: Collection[str] = ()) -> Context:
    """A project on Google Cloud, as its APIs report it."""
    compute = SmallCompute(there={one.name: one for one in instances})
    context = small_context(folder, compute)
    cloud = SimpleNamespace(
        open=lambda: None,
        compute=SimpleNamespace(instances=compute.instances, newest_image=lambda family: None),
        results=NoBucket(),
        stacks=SimpleNamespace(names=lambda project: list(batches)),
        inventory=inventory,
    )
    settings = Settings(target="google", project="a-project", operator="me@example.com")
    return replace(context, settings=settings, cloud=cast(Cloud, cloud))


def test_a_resource_without_its_vm_is_reported_and_priced(tmp_path: Path) -> None:
    address = Item(kind=Kind.ADDRESS, name="address", location="europe-west4", labels=BATCH)
    values = status.execute(google(tmp_path, SmallInventory(disk("left"), address)))
    assert [(item["kind"], item["name"], item["batch"]) for item in values["without_vm"]] == [
        ("disk", "left", "b1"),
        ("address", "address", "b1"),
    ]
    assert values["batches"] == [{"name": "b1", "vms": []}]
    assert values["cost"]["usd_per_hour_at_most"] == pytest.approx(0.10 + catalog.IDLE_ADDRESS_USD_PER_HOUR)


def test_a_disk_is_counted_once_and_by_its_true_size(tmp_path: Path) -> None:
    vm = replace(instance("b1-0"), disk_gib=730, labels=BATCH)
    known = catalog.MACHINE_TYPES[vm.machine_type]
    values = status.execute(google(tmp_path, SmallInventory(disk("b1-0", "europe-west4-a/b1-0")), vm))
    assert values["without_vm"] == []
    assert values["cost"]["usd_per_hour_at_most"] == pytest.approx(hourly_price(known, 730), abs=1e-4)
    elsewhere = status.execute(google(tmp_path, SmallInventory(disk("b1-0", "europe-west4-b/b1-0")), vm))
    assert [item["name"] for item in elsewhere["without_vm"]] == ["b1-0"]


def test_a_vm_without_a_known_disk_size_has_the_usual_one(tmp_path: Path) -> None:
    stopped = replace(instance("b1-0", "TERMINATED"), labels=BATCH)
    values = status.execute(google(tmp_path, SmallInventory(), stopped))
    assert values["cost"]["usd_per_hour_at_most"] == pytest.approx(Settings().disk_gib * DISK_PRICE, abs=1e-4)


def test_what_could_not_be_read_is_not_shown_as_absent(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match="disk: no right to look"):
        status.execute(google(tmp_path, SmallInventory(unread=(Unread(kind=Kind.DISK, message="no right to look"),))))
