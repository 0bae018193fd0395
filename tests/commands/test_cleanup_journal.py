"""What ``invoke cleanup`` says to the journals: a journal ends when nothing of it is left that costs, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from runner.model.journal_state import JournalState
from tests.support.cloud_inventory import BOB, BUCKET, ME, PROJECT, Inventory, at, gone


def leave(inventory: Inventory, name: str = "b1", *, project: str = PROJECT) -> None:
    """The journal of a batch whose client is gone."""
    with inventory.site.context().journals.begin(name, "run", target="local", project=project) as state:
        state.intend("instance", f"{name}-0", "europe-west4-a")


def read(inventory: Inventory, name: str = "b1") -> JournalState:
    journal = inventory.site.context().journals.read(name)
    assert journal is not None
    return journal


def test_the_journal_of_an_abandoned_batch_is_ended(inventory: Inventory) -> None:
    context = inventory.site.context()
    with context.journals.begin("abandoned", "run", target="local", project=PROJECT) as state:
        state.intend("instance", "abandoned-0", "europe-west4-a")
        inventory.vm("abandoned-0", ME, batch="abandoned", expires=at(1))
    inventory.clean(batch="abandoned")
    journal = context.journals.read("abandoned")
    assert journal is not None
    assert (journal.has_ended, journal.outcome) == (True, "cleaned up")
    (vm,) = [one for one in journal.resources if one.name == "abandoned-0" and one.kind == "instance"]
    assert vm.gone is not None
    assert "done at" in " ".join(vm.answers)


def test_one_with_a_vm_left_is_still_open(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    leave(inventory)
    for name in ("b1-0", "b1-1"):
        inventory.vm(name, ME, batch="b1", expires=at(9))
    inventory.lease("b1", 60, detached=True, deadlines={"a": 7200.0})
    inventory.switch_off("b1-0")
    assert "instance b1-0 in europe-west4-a" in gone(inventory.clean())
    assert not read(inventory).has_ended
    assert "instance b1-1 in europe-west4-a" in gone(inventory.clean(batch="b1"))
    assert read(inventory).outcome == "cleaned up"


def test_one_with_a_vm_left_that_was_not_even_listed_is_still_open(inventory: Inventory) -> None:
    leave(inventory)
    inventory.vm("b1-0", ME, batch="b1", expires=at(-1))
    inventory.vm("b1-1", ME, batch="b1", expires=at(9))
    summary = inventory.clean()
    assert (gone(summary), summary.kept) == ({"instance b1-0 in europe-west4-a"}, ())
    assert not read(inventory).has_ended


@pytest.mark.parametrize("request_", [{"batch": "b1"}, {"bake": "b1"}], ids=["batch", "bake"])
def test_one_whose_resources_are_another_owners_is_still_open(inventory: Inventory, request_: dict[str, Any]) -> None:
    leave(inventory)
    (label,) = request_
    inventory.vm("b1-0", BOB, **{label: "b1"}, expires=at(9))
    summary = inventory.clean(**request_)
    assert (summary.exit_code, summary.report.removals) == (8, ())
    assert summary.stays == ["instance b1-0 in europe-west4-a: it belongs to bob; --owner any removes it too"]
    assert not read(inventory).has_ended
    assert inventory.clean(**request_, owner="any").exit_code == 0
    assert read(inventory).has_ended


def test_one_of_another_project_is_not_touched(inventory: Inventory) -> None:
    leave(inventory, project="another-project")
    inventory.clean(batch="b1")
    assert not read(inventory).has_ended
