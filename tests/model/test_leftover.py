"""What a sweep may remove, and what it may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from runner.model import names
from runner.model.lease import LeaseSight, new_lease
from runner.model.leftover import (
    BASE_PART,
    STATE_PART,
    VALIDATED,
    Found,
    Item,
    Kind,
    Scope,
    read_expires,
    read_labels,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PAST, FUTURE = "20261122-1100", "20261122-1300"
MINE = {"app": names.APP, "owner": "me"}
THEIRS = {"app": names.APP, "owner": "bob"}


def item(kind: Kind, name: str = "x", labels: dict[str, str] | None = None, *, state: str = "", **more: str) -> Item:
    return Item(kind=kind, name=name, labels=(MINE if labels is None else labels) | more, state=state)


def taken(scope: Scope, *items: Item) -> list[str]:
    return [choice.item.name for choice in scope.choose(items) if choice.is_taken]


def reasons(scope: Scope, *items: Item) -> dict[str, str]:
    return {choice.item.name: choice.reason for choice in scope.choose(items) if not choice.is_taken}


def scope(**more: object) -> Scope:
    return Scope(now=NOW, owner="me", **more)  # type: ignore[arg-type]  # the test's own keywords


def test_a_batch_takes_what_has_its_label_and_nothing_else() -> None:
    items = [
        item(Kind.INSTANCE, "vm", batch="b1", expires=FUTURE),
        item(Kind.DISK, "disk", batch="b1"),
        item(Kind.ADDRESS, "address", batch="b1"),
        item(Kind.CONTROL, "control", batch="b1"),
        item(Kind.STACK, "stack", batch="b1"),
        item(Kind.RESULTS, "results", batch="b1"),
        item(Kind.INSTANCE, "other", batch="b2"),
        item(Kind.INSTANCE, "baking", bake="b1"),
    ]
    assert taken(scope(batch="b1"), *items) == ["vm", "disk", "address", "control", "stack"]
    assert taken(scope(batch="b1", results=True), *items) == ["vm", "disk", "address", "control", "results", "stack"]


def test_what_lacks_the_label_is_never_taken() -> None:
    foreign = item(Kind.INSTANCE, "foreign", {"owner": "me", "batch": "b1", "expires": PAST})
    for one in (scope(batch="b1"), scope(everything=True), scope(), Scope(now=NOW, owner="any", everything=True)):
        assert taken(one, foreign) == []


def test_resources_of_another_owner_are_taken_only_with_owner_any() -> None:
    items = [
        item(Kind.INSTANCE, "his", THEIRS, batch="b1"),
        item(Kind.INSTANCE, "nobodys", {"app": names.APP, "batch": "b1"}),
    ]
    assert taken(scope(batch="b1"), *items) == []
    assert "belongs to bob" in reasons(scope(batch="b1"), *items)["his"]
    assert "owner is unknown" in reasons(scope(batch="b1"), *items)["nobodys"]
    assert all(choice.is_spared for choice in scope(batch="b1").choose(items))
    (builder,) = scope(bake="bake-1").choose([item(Kind.INSTANCE, "builder", THEIRS, bake="bake-1")])
    assert builder.is_spared
    assert not any(choice.is_spared for choice in scope(everything=True).choose(items)), "everything is all of mine"
    assert taken(Scope(now=NOW, owner="any", batch="b1"), *items) == ["his", "nobodys"]


def test_without_a_scope_only_expired_resources() -> None:
    items = [
        item(Kind.INSTANCE, "alive", batch="b1", expires=FUTURE),
        item(Kind.INSTANCE, "expired", batch="b2", expires=PAST),
        item(Kind.INSTANCE, "without-end", batch="b3"),
        item(Kind.CONTROL, "lease-over", batch="b4", expires=PAST),
        item(Kind.CONTROL, "lease-kept", batch="b5", expires=FUTURE),
        item(Kind.CONTROL, "of-detached", batch="b1", expires=PAST),
        item(Kind.SSH_KEY, "old-key", expires=PAST),
        item(Kind.SSH_KEY, "new-key", expires=FUTURE),
        item(Kind.IMAGE, "half", bake="bake-1", state="PENDING, not validated"),
        item(Kind.IMAGE, "whole", bake="bake-1", state=VALIDATED),
        item(Kind.ACCOUNT, "account", bake="bake-1"),
        item(Kind.STACK, "old-stack", batch="b6", expires=PAST),
        item(Kind.STACK, "stack", batch="b7"),
        item(Kind.RESULTS, "results", batch="b2"),
        item(Kind.BUCKET, "bucket", part=BASE_PART),
        item(Kind.NETWORK, "network", part=BASE_PART),
    ]
    assert taken(scope(), *items) == ["expired", "old-key", "lease-over", "old-stack", "half", "account"]


def seen(left_s: float, **changes: Any) -> LeaseSight:
    lease = replace(new_lease("b1", "you@here 1", NOW, 600), **changes)
    return LeaseSight(lease=lease, left_s=left_s)


def control(lease: LeaseSight, batch: str = "b1", *, expires: str = FUTURE) -> Item:
    return Item(kind=Kind.CONTROL, name="control", labels=MINE | {"batch": batch, "expires": expires}, lease=lease)


def test_what_somebody_watches_is_kept_beyond_its_end() -> None:
    vm = item(Kind.INSTANCE, "vm", batch="b1", expires=PAST)
    stack = item(Kind.STACK, "stack", batch="b1", expires=PAST)
    watched, left = control(seen(3600)), control(seen(-3600))
    other = control(seen(3600), batch="b2")
    assert taken(scope(), vm, stack, watched) == []
    assert "its lease runs until 2026-11-22 13:00 UTC" in reasons(scope(), vm, watched)["vm"]
    assert taken(scope(), vm, stack, left, other) == ["vm", "stack"]
    assert taken(scope(batch="b1"), vm, watched) == ["vm", "control"]


UNTIL_MAX_RUN = [
    item(Kind.INSTANCE, "vm", batch="b1", expires=FUTURE),
    item(Kind.DISK, "disk", batch="b1", expires=FUTURE),
    item(Kind.ADDRESS, "address", batch="b1"),
    item(Kind.STACK, "stack", batch="b1", expires=FUTURE),
]


def test_a_lease_that_nobody_renewed_is_an_end_too() -> None:
    """Of an orphan whose client died before its VM could watch over the lease."""
    assert taken(scope(), *UNTIL_MAX_RUN, control(seen(-1))) == ["vm", "disk", "address", "stack"]
    assert taken(scope(), *UNTIL_MAX_RUN, control(seen(-1), batch="b11")) == []
    assert taken(scope(), *UNTIL_MAX_RUN, control(seen(1))) == []
    (vm, *_) = scope().choose([*UNTIL_MAX_RUN, control(seen(-3600))])
    assert (vm.reason, vm.has_expired) == ("its lease ended at 2026-11-22 11:00 UTC", True)


def test_a_detached_batch_may_run_to_its_deadlines() -> None:
    items = [*UNTIL_MAX_RUN, control(seen(-600, detached=True, deadlines={"a": 60.0, "b": 4200.0}))]
    assert taken(scope(), *items) == []
    assert reasons(scope(), *items) == dict.fromkeys(
        ("vm", "disk", "address", "stack"),
        "kept: left with --detach; its jobs may run until 2026-11-22 13:00 UTC",
    )
    over = [*UNTIL_MAX_RUN, control(seen(-4201, detached=True, deadlines={"a": 60.0, "b": 4200.0}))]
    assert taken(scope(), *over) == ["vm", "disk", "address", "stack"]
    for_ever = [*UNTIL_MAX_RUN, control(seen(-999_999, detached=True))]
    assert taken(scope(), *for_ever) == []


@pytest.mark.parametrize("state", ["TERMINATED", "STOPPED"])
def test_a_vm_that_is_switched_off_goes_with_its_disk(state: str) -> None:
    off = item(Kind.INSTANCE, "off", batch="b1", expires=FUTURE, state=state)
    off = replace(off, location="zone-a")
    disk = replace(item(Kind.DISK, "disk", batch="b1"), users=("zone-a/off",))
    others = [
        replace(off, name="on", state="RUNNING"),
        replace(disk, name="of-on", users=("zone-a/on",)),
        replace(disk, name="of-both", users=("zone-a/off", "zone-a/on")),
        replace(disk, name="of-namesake", users=("zone-b/off",)),
        replace(disk, name="of-nobody", users=()),
    ]
    assert taken(scope(), off, disk, *others) == ["off", "disk"]
    drains = control(seen(-1, detached=True, deadlines={"a": 60.0}))
    assert taken(scope(), off, disk, drains) == ["off", "disk"], "no job runs on it"
    assert taken(scope(), off, disk, control(seen(60))) == [], "somebody looks after it"


def test_a_builder_is_switched_off_while_its_image_is_created() -> None:
    builder = item(Kind.INSTANCE, "builder", bake="bake-1", expires=FUTURE, state="TERMINATED")
    assert taken(scope(), builder) == []


def test_the_definition_of_a_batch_stays_for_an_attach() -> None:
    nobody, for_long = control(seen(-60)), control(seen(-60), expires=PAST)
    assert taken(scope(), *UNTIL_MAX_RUN, nobody) == ["vm", "disk", "address", "stack"]
    assert taken(scope(), *UNTIL_MAX_RUN, for_long) == ["vm", "disk", "address", "control", "stack"]


def test_a_stack_without_an_owner_belongs_to_the_owner_of_its_batch() -> None:
    stack = item(Kind.STACK, "stack", {"app": names.APP}, batch="b1")
    mine = item(Kind.CONTROL, "mine", batch="b1", expires=FUTURE)
    his = item(Kind.INSTANCE, "his", THEIRS, batch="b1", expires=FUTURE)
    for one in (scope(batch="b1"), scope(everything=True)):
        assert taken(one, stack) == ["stack"]
        assert taken(one, stack, mine) == ["mine", "stack"]
        assert taken(one, stack, mine, his) == ["mine"]
        assert "belongs to bob" in reasons(one, stack, his)["stack"]
    assert taken(scope(), stack, mine) == []
    assert taken(scope(), stack) == ["stack"]
    assert taken(scope(), item(Kind.STACK, "bake", {"app": names.APP}, bake="bake-1")) == []


def test_an_image_of_a_living_bake_is_let_be() -> None:
    builder = item(Kind.INSTANCE, "builder", bake="bake-1", expires=FUTURE)
    half = item(Kind.IMAGE, "half", bake="bake-1", state="PENDING, not validated")
    assert taken(scope(), builder, half) == []
    assert taken(scope(bake="bake-1"), builder, half) == ["builder", "half"]


def test_a_validated_image_is_kept_and_said_so() -> None:
    image = item(Kind.IMAGE, "whole", bake="bake-1", state=VALIDATED)
    for one in (scope(bake="bake-1"), scope(everything=True)):
        assert reasons(one, image) == {"whole": "a validated image is kept"}


BASE = [
    item(Kind.BUCKET, "bucket", part=BASE_PART),
    item(Kind.FIREWALL, "firewall", part=BASE_PART),
    item(Kind.NETWORK, "network", part=BASE_PART),
    item(Kind.ACCOUNT, "account", part=BASE_PART),
    item(Kind.STACK, "base", part=BASE_PART),
]


def test_the_base_lives_as_long_as_its_bucket() -> None:
    assert taken(scope(everything=True), *BASE) == []
    assert taken(scope(everything=True, results=True), *BASE) == ["bucket", "firewall", "network", "account", "base"]
    assert taken(scope(everything=True), *BASE[1:]) == ["firewall", "network", "account", "base"]


def test_without_a_bucket_the_owner_of_the_base_is_unknown() -> None:
    orphans = [item(Kind.NETWORK, "network", {"app": names.APP, "owner": "", "part": BASE_PART})]
    assert taken(scope(everything=True), *orphans) == ["network"]
    assert taken(scope(everything=True), *orphans, item(Kind.INSTANCE, "his", THEIRS)) == []


@pytest.mark.parametrize("kind", [Kind.INSTANCE, Kind.RESULTS, Kind.CONTROL])
def test_the_base_is_kept_for_others(kind: Kind) -> None:
    his = item(kind, "his", THEIRS, batch="b9")
    everything = scope(everything=True, results=True)
    assert not {"firewall", "network", "base"} & set(taken(everything, *BASE, his))
    assert ("bucket" in taken(everything, *BASE, his)) is (kind is Kind.INSTANCE)


def test_the_state_of_the_stacks_is_never_taken() -> None:
    bucket = item(Kind.BUCKET, "state", {"app": names.APP, "part": STATE_PART})
    assert taken(Scope(now=NOW, owner="any", everything=True, results=True), bucket) == []


def test_what_somebody_is_at_is_left_to_them() -> None:
    vm = item(Kind.INSTANCE, "vm", batch="b1", expires=PAST)
    busy = {"b1": "me@here (process 7)"}
    for one in (scope(busy=busy), scope(everything=True, busy=busy), scope(batch="b1", busy=busy)):
        assert reasons(one, vm) == {"vm": "in use by me@here (process 7)"}


def test_the_base_is_kept_for_what_somebody_is_at() -> None:
    busy = {"b1": "me@here (process 7)"}
    results = item(Kind.RESULTS, "results", batch="b1")
    everything = scope(everything=True, results=True, busy=busy)
    assert taken(everything, *BASE, results) == []
    why = reasons(everything, *BASE, results)
    assert why["bucket"] == why["network"] == "kept: needed by b1, in use by me@here (process 7)"


def test_everything_is_all_but_what_a_living_client_needs() -> None:
    vm = item(Kind.INSTANCE, "vm", batch="b1", expires=FUTURE)
    here = {"b1": "me@here (process 7)"}
    elsewhere = control(seen(60))
    for one, items in (
        (scope(everything=True, results=True, busy=here), [vm]),
        (scope(everything=True, results=True), [vm, elsewhere]),
        (scope(everything=True, results=True, gone=["another"]), [vm, elsewhere]),
    ):
        choices = one.choose([*items, *BASE])
        assert not any(choice.is_taken for choice in choices)
        assert all(choice.is_spared for choice in choices)
    assert "--batch b1 removes it" in reasons(scope(everything=True), vm, elsewhere)["vm"]


def test_everything_takes_what_no_living_client_uses() -> None:
    vm = item(Kind.INSTANCE, "vm", batch="b1", expires=FUTURE)
    for one, lease in (
        (scope(everything=True), seen(-1)),
        (scope(everything=True), seen(60, detached=True)),
        (scope(everything=True, gone=["you@here 1"]), seen(60)),
        (scope(everything=True, gone=["id"]), seen(60, holder_id="id")),
    ):
        assert taken(one, vm, control(lease)) == ["vm", "control"]
    kept = [choice for choice in scope(everything=True).choose([vm, *BASE]) if not choice.is_taken]
    assert not any(choice.is_spared for choice in kept), "nobody asked for the base"


def test_expired_items_come_first_then_the_order_of_removal() -> None:
    items = [
        item(Kind.DISK, "disk", expires=FUTURE),
        item(Kind.INSTANCE, "vm-1", expires=FUTURE),
        item(Kind.ADDRESS, "old", expires=PAST),
        item(Kind.INSTANCE, "vm-0", expires=FUTURE),
    ]
    assert taken(scope(everything=True), *items) == ["old", "vm-0", "vm-1", "disk"]


def test_batches_with_an_unexpired_item_are_alive() -> None:
    items = [
        item(Kind.INSTANCE, batch="b1", expires=FUTURE),
        item(Kind.INSTANCE, batch="b2", expires=PAST),
        item(Kind.CONTROL, batch="b3", expires=FUTURE),
        item(Kind.STACK, batch="b4"),
        item(Kind.DISK, batch="b5"),
        item(Kind.INSTANCE, batch="b6", expires=FUTURE),
        control(seen(-60), batch="b6", expires=PAST),
    ]
    assert Found(items, NOW).alive == {"b1", "b3", "b5"}


@pytest.mark.parametrize("text", ["", "soon", "20261399-0000"])
def test_an_expiry_that_cannot_be_read_is_none(text: str) -> None:
    assert read_expires(text) is None


def test_labels_in_words() -> None:
    assert read_labels("Made for a bake. " + " ".join(f"{key}={value}" for key, value in MINE.items())) == MINE
    assert read_labels("nothing here") == {}


def test_an_item_is_identified_by_more_than_its_name() -> None:
    vm = replace(item(Kind.INSTANCE, "vm"), uid="1")
    assert vm.is_still(vm)
    assert not replace(vm, uid="2").is_still(vm)
    pile = replace(item(Kind.RESULTS, "b1"), since="2026-11-22T10:00:00Z", until="2026-11-22T11:00:00Z")
    assert replace(pile, until="2026-11-22T12:00:00Z").is_still(pile), "it has grown"
    assert not replace(pile, since="2026-11-22T11:30:00Z").is_still(pile), "what was seen is gone"


def test_what_an_item_is_called() -> None:
    assert str(Item(kind=Kind.INSTANCE, name="b1-0", location="europe-west4-a")) == "instance b1-0 in europe-west4-a"
    assert str(Item(kind=Kind.NETWORK, name="opensees-hpc")) == "network opensees-hpc"
