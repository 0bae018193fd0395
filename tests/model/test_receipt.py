"""The arithmetic of a receipt, what counts as proven, and a page that a hostile name cannot break."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from runner.model import catalog
from runner.model.journal_record import Record
from runner.model.journal_state import JournalState, read_journal_state
from runner.model.plan import hourly_price
from runner.model.receipt import Receipt, make_receipt
from runner.model.receipt_items import Answer, CloudAct, ItemState
from runner.model.receipt_page import render_page

BEGUN = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MADE = BEGUN + timedelta(hours=2)
PRICE = 0.36
PLAN = {"machine_type": "c2-standard-4", "price_usd_per_hour": PRICE, "max_run_s": 3600}
VM = {"kind": "instance", "name": "b-0", "zone": "z-a"}
OWNER = {"user": "ada", "host": "desk", "pid": 7, "process_started": 1.0, "boot_id": "x", "machine_id": "y"}


def at(minutes: float) -> datetime:
    return BEGUN + timedelta(minutes=minutes)


def make_session(
    *written: tuple[float, str, dict[str, Any]], target: str = "google", kind: str = "run"
) -> JournalState:
    begin = {"format": 1, "session": kind, "name": "b", "owner": OWNER, "target": target, "project": "p"}
    first = [Record(kind="begin", at=BEGUN, facts=begin), Record(kind="plan", at=BEGUN, facts=PLAN)]
    return read_journal_state("b", [*first, *(Record(kind=word, at=at(m), facts=facts) for m, word, facts in written)])


def answer(**facts: Any) -> Answer:
    given: dict[str, Any] = {**VM, "by_name": False, "by_label": False, "words": "404 notFound", **facts}
    return Answer(**given)


def act(kind: str, minutes: float, *, error: str = "") -> CloudAct:
    return CloudAct(name=f"op-{minutes:g}", kind=kind, started=at(minutes), ended=at(minutes + 0.5), error=error)


def receipt_of(journal: JournalState, *answers: Answer) -> Receipt:
    return make_receipt(journal, made=MADE, asked=MADE if answers else None, answers=answers)


WHOLE_LIFE = ((1.0, "intend", VM), (2.0, "created", VM), (31.0, "gone", VM))


def test_time_and_cost_from_the_journal_are_from_intent_to_gone() -> None:
    receipt = receipt_of(make_session(*WHOLE_LIFE), answer())
    (item,) = receipt.items
    assert (item.state, item.seconds) == (ItemState.GONE, 30 * 60)
    assert item.usd_at_most == pytest.approx(PRICE / 2)
    assert receipt.vm_seconds == 1800
    assert receipt.usd_at_most == pytest.approx(PRICE / 2)
    assert (receipt.exit_code, receipt.left_over, receipt.is_cost_known) == (0, (), True)


def test_the_clouds_own_operations_are_better_than_the_journal() -> None:
    acts = (act("insert", 1.5), act("delete", 20))
    (item,) = receipt_of(make_session(*WHOLE_LIFE), answer(acts=acts)).items
    assert item.seconds == (20.5 - 1.5) * 60
    assert (item.created, item.gone) == (at(2), at(20.5))
    assert item.answer == "delete op-20; 404 notFound"


def test_each_life_of_a_name_has_its_own_time() -> None:
    journal = make_session(*WHOLE_LIFE, (40, "intend", VM), (41, "created", VM), (60, "gone", VM))
    preempted = "compute.instances.preempted"
    acts = (
        act("insert", 1),
        act(preempted, 10),
        act("insert", 40, error="STOCKOUT"),
        act("insert", 41),
        act("delete", 59),
    )
    first, second = receipt_of(journal, answer(acts=acts)).items
    assert (first.seconds, second.seconds) == (9.5 * 60, 18.5 * 60)
    assert (first.answer, second.answer) == (f"{preempted} op-10", "delete op-59; 404 notFound")


def test_an_answer_is_not_listed_twice() -> None:
    heard = VM | {"answers": ["delete op-20", "404 notFound"]}
    journal = make_session(*WHOLE_LIFE[:2], (31, "gone", heard))
    (item,) = receipt_of(journal, answer(acts=(act("insert", 1.5), act("delete", 20)))).items
    assert item.answer == "delete op-20; 404 notFound"


def test_memories_that_do_not_fit_are_not_used() -> None:
    acts = (act("insert", 1), act("delete", 2), act("insert", 3), act("delete", 4))
    (item,) = receipt_of(make_session(*WHOLE_LIFE), answer(acts=acts)).items
    assert item.seconds == 30 * 60


def test_less_than_a_minute_is_billed_as_a_minute() -> None:
    journal = make_session((1, "intend", VM), (1.1, "created", VM), (1.2, "gone", VM))
    (item,) = receipt_of(journal, answer()).items
    assert item.seconds == pytest.approx(12)
    assert item.usd_at_most == pytest.approx(PRICE / 60)


def test_what_nobody_saw_go_ends_by_the_clouds_own_limit() -> None:
    (item,) = receipt_of(make_session((1, "intend", VM), (2, "created", VM)), answer()).items
    assert (item.state, item.seconds) == (ItemState.GONE, PLAN["max_run_s"])


def test_what_is_still_there_costs_until_now() -> None:
    journal = make_session(*WHOLE_LIFE)
    for facts in ({"by_name": True, "words": "RUNNING"}, {"by_label": True}):
        receipt = receipt_of(journal, answer(**facts))
        (item,) = receipt.items
        assert (item.state, item.seconds, item.gone) == (ItemState.STILL_THERE, 119 * 60, None)
        assert (receipt.exit_code, receipt.left_over) == (8, ("instance b-0 in z-a",))


@pytest.mark.parametrize("facts", [{"by_name": None}, {"by_label": None}, {"by_name": None, "by_label": None}])
def test_what_could_not_be_asked_is_not_proven(facts: dict[str, Any]) -> None:
    receipt = receipt_of(
        make_session(*WHOLE_LIFE),
        answer(
            **facts,
        ),
    )
    assert (receipt.exit_code, receipt.unknown, receipt.left_over) == (4, ("instance b-0 in z-a",), ())


def test_a_receipt_from_the_journal_alone_proves_nothing() -> None:
    receipt = receipt_of(make_session(*WHOLE_LIFE))
    assert (receipt.items[0].state, receipt.exit_code) == (ItemState.GONE, 4)
    assert receipt_of(make_session((1, "intend", VM))).unknown == ("instance b-0 in z-a",)


@pytest.mark.parametrize(
    ("written", "facts"),
    [
        ([(1.0, "intend", VM)], {"acts": ()}),
        ([(1.0, "intend", VM)], {"acts": (act("insert", 1, error="STOCKOUT"),)}),
        ([(1.0, "intend", VM), (2.0, "failed", VM | {"answer": "STOCKOUT"})], {}),
    ],
)
def test_what_was_never_created_costs_nothing(written: Any, facts: dict[str, Any]) -> None:
    (item,) = receipt_of(make_session(*written), answer(**facts)).items
    assert (item.state, item.seconds, item.usd_at_most) == (ItemState.NEVER_CREATED, 0, 0)


def test_operations_are_not_trusted_to_be_remembered_for_ever() -> None:
    journal = make_session((1, "intend", VM))
    late = make_receipt(journal, made=at(60 * 24 * 30), asked=at(60 * 24 * 30), answers=[answer(acts=())])
    assert late.items[0].state is ItemState.GONE


def test_a_resource_with_the_label_that_was_never_intended_is_reported() -> None:
    stray = answer(name="b-9", by_label=True, words="RUNNING")
    receipt = receipt_of(make_session(*WHOLE_LIFE), answer(), stray)
    assert receipt.left_over == ("instance b-9 in z-a",)
    assert not receipt.is_cost_known
    assert "is not in the journal" in receipt.items[1].answer
    assert len(receipt_of(make_session(*WHOLE_LIFE), answer(), answer(name="b-9")).items) == 1


def test_an_image_is_meant_to_stay() -> None:
    image = {"kind": "image", "name": "opensees-hpc-1"}
    journal = make_session((1, "intend", image | {"keep": True}), (2, "created", image), kind="bake")
    receipt = receipt_of(journal, answer(kind="image", name="opensees-hpc-1", zone="", by_name=True, by_label=True))
    assert (receipt.items[0].state, receipt.exit_code, receipt.usd_at_most) == (ItemState.KEPT, 0, 0)


@pytest.mark.parametrize(
    ("facts", "price"),
    [
        ({}, PRICE),
        ({"price_usd_per_hour": 9.0}, 9.0),
        ({"machine_type": "c2-standard-8", "disk_gib": 40}, hourly_price(catalog.MACHINE_TYPES["c2-standard-8"], 40)),
        ({"machine_type": "z9-quantum-1"}, None),
    ],
)
def test_prices_come_from_the_vm_then_the_plan_then_the_catalogue(facts: dict[str, Any], price: float | None) -> None:
    receipt = receipt_of(make_session((1, "intend", VM | facts), (2, "gone", VM)), answer())
    assert receipt.items[0].usd_per_hour == (None if price is None else pytest.approx(price))
    assert receipt.is_cost_known == (price is not None)


def test_a_disk_of_its_own_costs_by_its_size() -> None:
    disk = {"kind": "disk", "name": "b-disk", "zone": "z-a"}
    journal = make_session((0, "intend", disk | {"disk_gib": 730}), (60, "gone", disk))
    assert receipt_of(journal, answer(**disk)).usd_at_most == pytest.approx(0.10)
    assert receipt_of(make_session((0, "intend", disk), (60, "gone", disk)), answer(**disk)).usd_at_most == 0


def test_the_embedded_cloud_is_free() -> None:
    receipt = receipt_of(make_session(*WHOLE_LIFE, target="local"), answer())
    assert (receipt.usd_at_most, receipt.vm_seconds) == (0, 1800)
    assert "embedded cloud" in receipt.as_json()["price"]


class TextOfPage(HTMLParser):
    """Tags in order and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_everything_and_runs_no_script() -> None:
    hostile = VM | {"answer": "<script>alert(1)</script>"}
    job = {"job": "one & <b>two</b>", "state": "failed", "attempt": 2, "instance": "b-0"}
    journal = make_session(
        (1, "intend", VM), (3, "job", job), (5, "gone", hostile), (6, "end", {"outcome": "<i>done</i>"})
    )
    receipt = receipt_of(journal, answer())
    values = json.loads(json.dumps(receipt.as_json()))
    page = render_page(values)
    parser = TextOfPage()
    parser.feed(page)
    assert not {"script", "b", "i", "img", "link"} & set(parser.tags)
    for text in (
        "<script>alert(1)</script>",
        "one & <b>two</b>",
        "Nothing is left.",
        "ada@desk",
        "0.0240",
        "b-0 in z-a",
    ):
        assert text in parser.text, text
    assert "http" not in page


def test_the_page_says_what_is_wrong() -> None:
    there = receipt_of(make_session(*WHOLE_LIFE), answer(by_name=True, words="RUNNING"))
    assert "Still there: instance b-0 in z-a" in render_page(there.as_json())
    assert "Not proven gone" in render_page(receipt_of(make_session(*WHOLE_LIFE)).as_json())
    empty = read_journal_state("b", [], ["line 1 cannot be read; it is skipped"])
    assert "line 1 cannot be read" in render_page(make_receipt(empty, made=MADE).as_json())
