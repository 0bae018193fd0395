"""Every event has a text form, or says that it has none, and a JSON form that comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import get_type_hints

import pytest

from runner.model.events import (
    EVENTS,
    AbandonedInstance,
    BakePlanned,
    BatchAbandoned,
    BatchDetached,
    BatchRenamed,
    DeadlineMoved,
    Event,
    InstancesCreated,
    JobStarted,
    Listener,
    PhaseEnded,
    PhaseStarted,
    ResultsAskedAgain,
    ResultsDownloaded,
)
from runner.model.events.page import render_page
from tests.model.events.samples import classes_of, sample_events

SILENT = {
    BakePlanned,  # a question follows, which says the same
    BatchDetached,  # the summary says it
    DeadlineMoved,
    InstancesCreated,  # the engine's own lines say it
    PhaseEnded,
    PhaseStarted,  # but those of PHASE_TITLES
    ResultsAskedAgain,
    ResultsDownloaded,  # the summary says it
}


def ids(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


@pytest.mark.parametrize("event", sample_events(), ids=ids(sample_events()))
def test_the_json_form_comes_back_as_it_was(event: Event) -> None:
    values = event.as_json()
    assert json.loads(json.dumps(values)) == values
    assert "event" not in values, "the kind has this key"
    state = get_type_hints(type(event)).get("state")
    assert ("state" in values) == (state is not None)


def test_events_of_one_kind_differ_in_their_state() -> None:
    kinds = [(kind.kind, str(get_type_hints(kind).get("state", ""))) for kind in EVENTS]
    assert len(set(kinds)) == len(EVENTS)


def test_every_class_is_listed_and_described() -> None:
    assert set(classes_of()) == set(EVENTS)
    page = render_page(EVENTS)
    for kind in EVENTS:
        assert f"## `{kind.kind}`" in page
        assert " ".join((kind.__doc__ or "").split()) in page
    assert "| |" not in page, "a field without a description"


def test_events_without_a_text_are_so_on_purpose() -> None:
    events = sample_events()
    assert {type(event) for event in events} - {type(event) for event in events if event.as_text()} == SILENT
    assert PhaseStarted(phase="up").as_text()


@pytest.mark.parametrize(
    ("event", "values"),
    [
        (PhaseStarted(phase="up"), {"phase": "up", "state": "started"}),
        (PhaseStarted(phase="boot", of="b-0"), {"phase": "boot", "of": "b-0", "state": "started"}),
        (
            PhaseEnded(phase="up", state="failed", seconds=1.5),
            {"phase": "up", "state": "failed", "seconds": 1.5},
        ),
        (
            JobStarted(job="a", instance="b-0", attempt=1),
            {"job": "a", "state": "running", "instance": "b-0", "attempt": 1},
        ),
        (
            JobStarted(job="a", instance="b-0", attempt=2, adopted=True),
            {"job": "a", "state": "running", "instance": "b-0", "attempt": 2, "adopted": True},
        ),
        (BatchRenamed(planned="b", batch="b-2"), {"planned": "b", "batch": "b-2"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_field_is_left_out_as_long_as_it_says_nothing(event: Event, values: dict[str, object]) -> None:
    assert event.as_json() == values


def test_an_abandoned_batch_is_reported_with_its_vms() -> None:
    vm = AbandonedInstance(name="b-0", zone="z", status="RUNNING", machine_type="c2-standard-4", expired="")
    event = BatchAbandoned(
        name="b",
        batch_or_bake="run",
        owner="me@here 1",
        started=None,
        is_detached=False,
        is_from_here=True,
        watched_by="",
        instances=(vm,),
        usd_per_hour_at_most=0.25,
        trouble="",
        offers=("invoke attach --batch b", "invoke cleanup --batch b"),
    )
    values = event.as_json()
    assert (values["kind"], values["instances"][0]["name"]) == ("run", "b-0")
    assert ["".join(span.text for span in line) for line in event.as_text()] == [
        "batch b was abandoned by me@here 1: 1 VM there now, 0.25 USD an hour at most",
        "  invoke attach --batch b to continue, or invoke cleanup --batch b to end it",
    ]


def test_what_a_listener_raises_ends_nothing() -> None:
    def fail(event: Event) -> None:
        raise ValueError("no")

    with pytest.warns(RuntimeWarning, match="a listener failed at warning: ValueError"):
        Listener(on_progress=fail).warn("beware")
