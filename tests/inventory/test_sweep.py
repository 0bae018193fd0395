"""A sweep continues after errors, looks again, and reports what happened to each item. The inventory is a small fake."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from runner.errors import CloudError, ConflictError
from runner.inventory.inventory import DryInventory, Findings, Inventory, Unread
from runner.inventory.sweep import Agreement, Removal, SweepReport, sweep, sweep_agreed
from runner.model import names
from runner.model.lease import new_lease, see_lease
from runner.model.leftover import Item, Kind, Scope

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SCOPE = Scope(now=NOW, owner="me", batch="b1")


def item(kind: Kind, name: str) -> Item:
    return Item(kind=kind, name=name, labels={"app": names.APP, "owner": "me", "batch": "b1"})


class FakeInventory:
    """Items in a dictionary. ``stubborn``: how often the removal of an item fails; ``latecomers`` appear after the first removal."""

    def __init__(self, *items: Item, latecomers: Collection[Item] = ()) -> None:
        self.items = {one.key: one for one in items}
        self.latecomers = list(latecomers)
        self.stubborn: dict[str, int] = {}
        self.unread: tuple[Unread, ...] = ()
        self.order: list[str] = []
        self.kinds: list[Kind] = []

    def find(self, kinds: Collection[Kind], labels: Mapping[str, str]) -> Findings:
        found = (one for one in self.items.values() if one.kind in kinds and labels.items() <= one.labels.items())
        return Findings(items=tuple(found), unread=self.unread)

    def remove(self, item: Item) -> str:
        self.order.append(item.name)
        self.kinds.append(item.kind)
        if self.stubborn.get(item.name, 0) > 0:
            self.stubborn[item.name] -= 1
            raise CloudError(f"{item.name} is in use")
        self.items.pop(item.key, None)
        self.items |= {late.key: late for late in self.latecomers}
        self.latecomers = []
        return "done"


def states(removals: Collection[Removal]) -> dict[str, bool]:
    return {removal.item.name: removal.is_gone for removal in removals}


def test_users_go_before_what_they_use() -> None:
    inventory = FakeInventory(item(Kind.STACK, "stack"), item(Kind.DISK, "disk"), item(Kind.INSTANCE, "vm"))
    report = sweep(inventory, SCOPE)
    assert report.is_clean
    assert inventory.order == ["vm", "disk", "stack"]


def test_an_error_stops_nothing_and_is_reported() -> None:
    inventory = FakeInventory(item(Kind.INSTANCE, "vm-0"), item(Kind.INSTANCE, "vm-1"), item(Kind.ADDRESS, "address"))
    inventory.stubborn = {"vm-0": 100}
    reported: list[Removal] = []
    report = sweep(inventory, SCOPE, report=reported.append)
    assert states(report.removals) == {"vm-0": False, "vm-1": True, "address": True}
    assert [str(one) for one in report.left] == ["instance vm-0"]
    assert {removal.answer for removal in reported if not removal.is_gone} == {"vm-0 is in use"}


def test_what_was_in_use_is_tried_again_when_another_item_is_gone() -> None:
    inventory = FakeInventory(item(Kind.DISK, "disk"), item(Kind.INSTANCE, "vm"))
    inventory.stubborn = {"disk": 1}
    assert sweep(inventory, SCOPE).is_clean
    assert inventory.order == ["vm", "disk", "disk"]


def test_when_nothing_can_be_removed_it_gives_up() -> None:
    inventory = FakeInventory(item(Kind.DISK, "disk"))
    inventory.stubborn = {"disk": 100}
    assert not sweep(inventory, SCOPE).is_clean
    assert inventory.order == ["disk"]


def test_what_appears_meanwhile_is_removed_too() -> None:
    inventory = FakeInventory(item(Kind.INSTANCE, "vm-0"), latecomers=[item(Kind.INSTANCE, "vm-1")])
    assert sweep(inventory, SCOPE).is_clean
    assert inventory.items == {}


def test_control_objects_stay_as_long_as_a_vm_does() -> None:
    inventory = FakeInventory(item(Kind.INSTANCE, "vm"), item(Kind.CONTROL, "lease"), item(Kind.STACK, "stack"))
    inventory.stubborn = {"vm": 100}
    report = sweep(inventory, SCOPE)
    assert states(report.removals) == {"vm": False, "lease": False, "stack": False}
    answers = {removal.item.name: removal.answer for removal in report.removals}
    assert answers["lease"] == "kept as long as instance vm exists"
    assert inventory.order == ["vm"]


def agreed_sweep(inventory: FakeInventory, *items: Item, scopes: Sequence[Scope] = (SCOPE,)) -> SweepReport:
    """A sweep of what the user was shown, with another scope at each look, the last one for all that follow."""
    waiting = list(scopes)
    agreement = Agreement(found=Findings(items=tuple(items)), items=tuple(items))
    return sweep_agreed(
        inventory, lambda: waiting.pop(0) if len(waiting) > 1 else waiting[0], agreement, kinds=tuple(Kind)
    )


def test_only_what_was_agreed_to_is_removed() -> None:
    first, late = item(Kind.INSTANCE, "vm-0"), item(Kind.INSTANCE, "vm-1")
    inventory = FakeInventory(first, latecomers=[late])
    report = agreed_sweep(inventory, first)
    assert (inventory.order, report.appeared, report.is_clean) == (["vm-0"], (late,), True)
    again = FakeInventory(replace(first, uid="2"))
    report = agreed_sweep(again, replace(first, uid="1"))
    assert (again.order, [one.uid for one in report.appeared]) == ([], ["2"])


def test_what_was_in_use_is_tried_again_after_the_proof_that_it_is_ours_is_gone() -> None:
    disk, vm = item(Kind.DISK, "disk"), item(Kind.INSTANCE, "vm")
    inventory = FakeInventory(disk, vm)
    inventory.stubborn = {"disk": 1}
    nothing_of_it = Scope(now=NOW, owner="me")
    assert agreed_sweep(inventory, disk, vm, scopes=[SCOPE, nothing_of_it]).is_clean
    assert inventory.order == ["vm", "disk", "disk"]


def test_what_somebody_is_at_by_now_is_spared_even_if_it_was_tried() -> None:
    disk, vm = item(Kind.DISK, "disk"), item(Kind.INSTANCE, "vm")
    inventory = FakeInventory(disk, vm)
    inventory.stubborn = {"disk": 1}
    report = agreed_sweep(inventory, disk, vm, scopes=[SCOPE, replace(SCOPE, busy={"b1": "me@here (process 7)"})])
    assert inventory.order == ["vm", "disk"]
    assert [(str(one.item), one.reason) for one in report.spared] == [("disk disk", "in use by me@here (process 7)")]


def watched(holder: str = "bob@there 7") -> Item:
    """The control objects of a batch that a client watches."""
    sight = see_lease(new_lease("b1", holder, NOW, 600), updated=NOW, served=NOW)
    return replace(item(Kind.CONTROL, "control"), lease=sight)


class TakenOver(FakeInventory):
    """Those of a batch whose lease another client takes just before it is removed."""

    def remove(self, item: Item) -> str:
        if item.kind is not Kind.LEASE:
            return super().remove(item)
        taken = watched("eve@elsewhere 8")
        self.items[taken.key] = taken
        raise ConflictError("another client holds it by now")


def test_a_client_elsewhere_loses_its_batch_before_the_vms_are_deleted() -> None:
    vm, control = item(Kind.INSTANCE, "vm"), watched()
    inventory = FakeInventory(vm, control)
    report = agreed_sweep(inventory, vm, control)
    assert inventory.kinds == [Kind.LEASE, Kind.INSTANCE, Kind.CONTROL]
    assert (report.is_clean, report.spared, report.appeared) == (True, (), ())


def test_a_lease_that_does_not_go_saves_no_vm() -> None:
    vm, control = item(Kind.INSTANCE, "vm"), watched()
    inventory = FakeInventory(vm, control)
    inventory.stubborn = {"control": 1}
    report = agreed_sweep(inventory, vm, control)
    assert [removal.is_gone for removal in report.removals if removal.item.kind is Kind.LEASE] == [False]
    assert inventory.items == {}


def test_a_batch_that_changes_hands_while_its_lease_is_taken_is_spared() -> None:
    vm, control = item(Kind.INSTANCE, "vm"), watched()
    inventory = TakenOver(vm, control)
    report = agreed_sweep(inventory, vm, control)
    assert inventory.kinds == []
    assert {one.reason for one in report.spared} == {"eve@elsewhere 8 has been watching it since"}
    assert [one.item.name for one in report.spared] == ["vm", "control"]


def test_a_lease_is_taken_only_of_a_batch_by_its_name() -> None:
    control = watched()
    inventory = FakeInventory(control)
    agreed_sweep(inventory, control, scopes=[Scope(now=NOW, owner="me", everything=True, gone=["bob@there 7"])])
    assert inventory.kinds == [Kind.CONTROL]


def test_what_could_not_be_looked_at_is_not_clean() -> None:
    inventory = FakeInventory()
    inventory.unread = (Unread(kind=Kind.DISK, message="no right to look"),)
    report = sweep(inventory, SCOPE)
    assert not report.is_clean
    assert report.items_left == ["unknown, could not be read: disk: no right to look"]


def test_only_the_kinds_that_are_asked_for() -> None:
    inventory = FakeInventory(item(Kind.INSTANCE, "vm"), item(Kind.STACK, "stack"))
    assert sweep(inventory, SCOPE, kinds=[Kind.INSTANCE]).is_clean
    assert [one.name for one in inventory.items.values()] == ["stack"]


@pytest.mark.parametrize("is_dry", [False, True])
def test_a_dry_inventory_says_the_same_and_keeps_all(is_dry: bool) -> None:
    inside = FakeInventory(item(Kind.INSTANCE, "vm"), item(Kind.DISK, "disk"))
    inventory: Inventory = DryInventory(inside) if is_dry else inside
    report = sweep(inventory, SCOPE)
    assert states(report.removals) == {"vm": True, "disk": True}
    assert report.is_clean
    assert len(inside.items) == (2 if is_dry else 0)
