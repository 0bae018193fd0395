"""What a sweep may take, and what not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runner.model import names
from runner.model.leftover import (
    BASE_PART,
    STATE_PART,
    VALIDATED,
    Item,
    Kind,
    Scope,
    living_purposes,
    read_expires,
    read_labels,
    write_labels,
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


def test_a_batch_takes_what_bears_its_label_and_nothing_else() -> None:
    things = [
        item(Kind.INSTANCE, "vm", batch="b1", expires=FUTURE),
        item(Kind.DISK, "disk", batch="b1"),
        item(Kind.ADDRESS, "address", batch="b1"),
        item(Kind.CONTROL, "control", batch="b1"),
        item(Kind.STACK, "stack", batch="b1"),
        item(Kind.RESULTS, "results", batch="b1"),
        item(Kind.INSTANCE, "other", batch="b2"),
        item(Kind.INSTANCE, "baking", bake="b1"),
    ]
    assert taken(scope(batch="b1"), *things) == ["vm", "disk", "address", "control", "stack"]
    assert taken(scope(batch="b1", results=True), *things) == ["vm", "disk", "address", "control", "results", "stack"]


def test_what_lacks_the_label_is_never_taken() -> None:
    foreign = item(Kind.INSTANCE, "foreign", {"owner": "me", "batch": "b1", "expires": PAST})
    for one in (scope(batch="b1"), scope(everything=True), scope(), Scope(now=NOW, owner="any", everything=True)):
        assert taken(one, foreign) == []


def test_another_owners_things_are_taken_only_if_told() -> None:
    things = [
        item(Kind.INSTANCE, "his", THEIRS, batch="b1"),
        item(Kind.INSTANCE, "nobodys", {"app": names.APP, "batch": "b1"}),
    ]
    assert taken(scope(batch="b1"), *things) == []
    assert "belongs to bob" in reasons(scope(batch="b1"), *things)["his"]
    assert "does not say whose" in reasons(scope(batch="b1"), *things)["nobodys"]
    assert taken(Scope(now=NOW, owner="any", batch="b1"), *things) == ["his", "nobodys"]


def test_without_a_scope_only_what_has_outlived_its_purpose() -> None:
    things = [
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
    assert taken(scope(), *things) == ["expired", "old-key", "lease-over", "old-stack", "half", "account"]


def test_what_somebody_watches_is_kept_beyond_its_end() -> None:
    vm = item(Kind.INSTANCE, "vm", batch="b1", expires=PAST)
    stack = item(Kind.STACK, "stack", batch="b1", expires=PAST)
    watched = item(Kind.CONTROL, "control", batch="b1", watched_until=FUTURE, expires=FUTURE)
    left = item(Kind.CONTROL, "control", batch="b1", watched_until=PAST, expires=FUTURE)
    other = item(Kind.CONTROL, "other", batch="b2", watched_until=FUTURE, expires=FUTURE)
    assert taken(scope(), vm, stack, watched) == []
    assert "its lease runs until 2026-11-22 13:00 UTC" in reasons(scope(), vm, watched)["vm"]
    assert taken(scope(), vm, stack, left, other) == ["vm", "stack"]
    assert taken(scope(batch="b1"), vm, watched) == ["vm", "control"]


def test_a_stack_that_does_not_say_whose_it_is_belongs_with_the_rest_of_its_batch() -> None:
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


def test_without_a_bucket_nobody_can_say_whose_the_base_is() -> None:
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
        assert reasons(one, vm) == {"vm": "me@here (process 7) is at it"}


def test_the_base_is_kept_for_what_somebody_is_at() -> None:
    busy = {"b1": "me@here (process 7)"}
    results = item(Kind.RESULTS, "results", batch="b1")
    everything = scope(everything=True, results=True, busy=busy)
    assert taken(everything, *BASE, results) == []
    why = reasons(everything, *BASE, results)
    assert why["bucket"] == why["network"] == "kept: me@here (process 7) is at b1, which needs it"


def test_expired_things_come_first_then_the_order_of_removal() -> None:
    things = [
        item(Kind.DISK, "disk", expires=FUTURE),
        item(Kind.INSTANCE, "vm-1", expires=FUTURE),
        item(Kind.ADDRESS, "old", expires=PAST),
        item(Kind.INSTANCE, "vm-0", expires=FUTURE),
    ]
    assert taken(scope(everything=True), *things) == ["old", "vm-0", "vm-1", "disk"]


def test_living_purposes_are_those_with_something_that_is_not_over() -> None:
    things = [
        item(Kind.INSTANCE, batch="b1", expires=FUTURE),
        item(Kind.INSTANCE, batch="b2", expires=PAST),
        item(Kind.CONTROL, batch="b3", expires=FUTURE),
        item(Kind.STACK, batch="b4"),
        item(Kind.DISK, batch="b5"),
    ]
    assert living_purposes(things, NOW) == {"b1", "b3", "b5"}


@pytest.mark.parametrize("text", ["", "soon", "20261399-0000"])
def test_an_expiry_that_cannot_be_read_is_none(text: str) -> None:
    assert read_expires(text) is None


def test_labels_in_words() -> None:
    assert read_labels("Made for a bake. " + write_labels(MINE)) == MINE
    assert read_labels("nothing here") == {}


def test_what_an_item_is_called() -> None:
    assert str(Item(kind=Kind.INSTANCE, name="b1-0", place="europe-west4-a")) == "instance b1-0 in europe-west4-a"
    assert str(Item(kind=Kind.NETWORK, name="opensees-hpc")) == "network opensees-hpc"
