"""Phases: a phase that several VMs go through at the same time is kept and shown for each; no name decides what is hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.batch.summary import RunSummary
from runner.cli.text_screen import TextScreen
from runner.model.events import Event, Listener, Phases


def test_parts_are_data_beside_their_phase(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Event] = []
    phases = Phases(Listener(on_progress=events.append))
    for of in ("b 0", "b-1"):
        with phases.phase("boot", of=of):
            pass
    with phases.phase("download"):
        pass
    assert [event.as_json().get("of") for event in events] == ["b 0", "b 0", "b-1", "b-1", None, None]
    assert (set(phases.seconds), set(phases.parts["boot"])) == ({"download"}, {"b 0", "b-1"})
    summary = RunSummary(
        batch="b",
        jobs=(),
        phases_s={"download": 1.0},
        parts_s={"boot": {"b 0": 2.0, "b-1": 3.0}},
        left_over=(),
        results=Path(),
    )
    TextScreen(yes=True, ask=lambda question: False).show_summary(summary)
    assert "phases: download 1.0 s  boot at most 3.0 s" in capsys.readouterr().out
    assert json.loads(json.dumps(summary.as_json()))["parts_s"] == {"boot": {"b 0": 2.0, "b-1": 3.0}}
