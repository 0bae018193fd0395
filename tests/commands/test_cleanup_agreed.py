"""What is deleted is what was agreed to: not what has its name by now, nor what has come since, nor what a client is at again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from runner.commands.cleanup import CleanupSummary
from runner.journal.journal import Journal
from runner.lease.keeper import LeaseEvents, LeaseKeeper, LeaseState, LeaseTerms
from runner.model import names
from runner.model.events import Listener
from tests.support.cloud_inventory import BUCKET, LIMIT_S, ME, PROJECT, Inventory, at, gone

SHORT_LEASE_S = 6.0
POLL_S = 0.05


@dataclass
class Meanwhile:
    """Somebody who thinks about a question; ``act`` happens meanwhile."""

    act: Callable[[], object]

    def listener(self) -> Listener:
        def agree(question: str) -> bool:
            self.act()
            return True

        return Listener(on_confirm=agree)

    def clean(self, inventory: Inventory, **request: Any) -> CleanupSummary:
        return inventory.clean(self.listener(), **{"yes": False, **request})


def spared(summary: CleanupSummary) -> dict[str, str]:
    return {str(choice.item): choice.reason for choice in summary.report.spared}


def instances(inventory: Inventory) -> set[str]:
    return {vm.name for vm in inventory.site.context().cloud.compute.instances({"app": names.APP})}


def test_a_new_resource_of_the_same_name_is_spared(inventory: Inventory) -> None:
    inventory.vm("b1-0", ME, batch="b1", expires=at(-1))
    inventory.vm("b1-1", ME, batch="b1", expires=at(-1))

    def make_anew() -> None:
        inventory.site.delete_vm("b1-0")
        inventory.vm("b1-0", ME, batch="b1", expires=at(-1))

    summary = Meanwhile(make_anew).clean(inventory)
    assert gone(summary) == {"instance b1-1 in europe-west4-a"}
    assert [str(item) for item in summary.report.appeared] == ["instance b1-0 in europe-west4-a"]
    assert summary.exit_code == 8
    assert summary.stays == ["instance b1-0 in europe-west4-a: it appeared after you were asked"]
    assert instances(inventory) == {"b1-0"}
    assert gone(inventory.clean()) == {"instance b1-0 in europe-west4-a"}


def test_new_resources_and_their_control_objects_stay(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.lease("b1", 60)
    summary = Meanwhile(lambda: inventory.vm("b1-1", ME, batch="b1", expires=at(1))).clean(inventory, batch="b1")
    assert {str(one.item): one.is_gone for one in summary.report.removals} == {
        "instance b1-0 in europe-west4-a": True,
        f"control objects b1 in {BUCKET}": False,
    }
    assert [str(item) for item in summary.report.appeared] == ["instance b1-1 in europe-west4-a"]
    assert (summary.exit_code, summary.as_json()["stays"]) == (8, summary.stays)
    assert instances(inventory) == {"b1-1"}
    assert inventory.objects() == ["_control/b1/lease.json"]


@pytest.mark.parametrize("request_", [{}, {"batch": "b1"}, {"everything": True}])
def test_a_batch_that_a_client_has_taken_since_is_spared(inventory: Inventory, request_: dict[str, Any]) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.vm("b2-0", ME, batch="b2", expires=at(-1))
    inventory.lease("b1", 60)
    summary = Meanwhile(lambda: inventory.lease("b1", -300)).clean(inventory, **request_)
    assert spared(summary)["instance b1-0 in europe-west4-a"] == "you@there 7 has been watching it since"
    assert "b1-0" in instances(inventory)
    assert "_control/b1/lease.json" in inventory.objects()
    assert summary.exit_code == 8
    assert ("b2-0" in instances(inventory)) is ("batch" in request_)


def test_the_unexpired_lease_of_a_gone_client_spares_nothing(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.put("_control/b1/batch.json", b"{}")
    inventory.lease("b1", -300)
    summary = Meanwhile(lambda: None).clean(inventory, batch="b1")
    assert gone(summary) == {
        f"lease b1 in {BUCKET}",
        "instance b1-0 in europe-west4-a",
        f"control objects b1 in {BUCKET}",
    }
    assert summary.exit_code == 0


def test_a_lease_that_was_renewed_since_is_deleted_nevertheless(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.put("_control/b1/batch.json", b"{}")
    inventory.lease("b1", -300)
    summary = Meanwhile(lambda: inventory.lease("b1", -599)).clean(inventory, batch="b1")
    (first, *others) = summary.report.removals
    assert str(first.item) == f"lease b1 in {BUCKET}"
    assert [removal.item.kind.value for removal in others][-1] == "control objects"
    assert (inventory.objects(), instances(inventory)) == ([], set())
    assert (summary.exit_code, summary.stays) == (0, [])


def await_renewal(keeper: LeaseKeeper) -> None:
    before, limit = keeper.lease.renewed, time.monotonic() + LIMIT_S
    while keeper.lease.renewed == before:
        assert time.monotonic() < limit
        time.sleep(POLL_S)


def test_a_client_elsewhere_that_keeps_renewing_its_lease_learns_of_the_end(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.vm("b1-0", ME, batch="b1", expires=at(1))
    inventory.put("_control/b1/batch.json", b"{}")
    has_gone = threading.Event()
    terms = LeaseTerms(batch="b1", holder="you@there 7", holder_id="there", lease_s=SHORT_LEASE_S)
    keeper = LeaseKeeper(inventory.site.context().cloud.results, terms, LeaseEvents(on_gone=has_gone.set))
    with keeper:
        summary = Meanwhile(lambda: await_renewal(keeper)).clean(inventory, batch="b1")
        assert has_gone.wait(LIMIT_S)
    assert keeper.state is LeaseState.REMOVED
    assert (inventory.objects(), instances(inventory), summary.exit_code) == ([], set(), 0)


def test_a_renewed_lease_is_deleted_even_if_nothing_else_is_left(inventory: Inventory) -> None:
    inventory.bucket(BUCKET, ME)
    inventory.lease("b1", -300)
    summary = Meanwhile(lambda: inventory.lease("b1", -599)).clean(inventory, batch="b1")
    assert (inventory.objects(), summary.exit_code) == ([], 0)


def test_a_batch_that_a_process_here_has_taken_since_is_spared(inventory: Inventory) -> None:
    inventory.vm("b1-0", ME, batch="b1", expires=at(-1))
    journals = inventory.site.context().journals
    journals.begin("b1", "run", target="local", project=PROJECT).close()
    with contextlib.ExitStack() as stack:

        def go_on() -> Journal:
            return stack.enter_context(journals.resume("b1"))

        summary = Meanwhile(go_on).clean(inventory, batch="b1")
        assert "in use by" in spared(summary)["instance b1-0 in europe-west4-a"]
        assert (summary.report.removals, summary.exit_code) == ((), 8)
        journal = journals.read("b1")
        assert journal is not None and not journal.has_ended
    assert gone(inventory.clean(batch="b1")) == {"instance b1-0 in europe-west4-a"}


def test_results_that_came_since_stay_with_their_bucket(inventory: Inventory) -> None:
    inventory.base()
    inventory.put("b1/job/attempt-1/COMMITTED")
    inventory.put("_control/b1/batch.json", b"{}")
    later = "b1/late/attempt-1/COMMITTED"
    summary = Meanwhile(lambda: inventory.put(later)).clean(inventory, everything=True, results=True)
    assert inventory.objects() == [later]
    assert [str(item) for item in summary.report.appeared] == [f"results b1 in {BUCKET}"]
    assert f"bucket {BUCKET}" in summary.report.items_left
    assert summary.exit_code == 8
    assert inventory.clean(everything=True, results=True).exit_code == 0
