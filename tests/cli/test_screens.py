"""Both screens show every kind of event, and no foreign text controls the terminal or begins a line of its own."""

from __future__ import annotations

import json

import pytest

from runner.cli.json_screen import JsonScreen
from runner.cli.text_screen import TextScreen
from runner.model.events import Event, InstanceLost, Warned
from tests.model.events.samples import sample_events


def refuse(question: str) -> bool:
    return False


@pytest.mark.parametrize("event", sample_events(), ids=lambda event: type(event).__name__)
def test_every_event_is_shown(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    TextScreen(yes=False, ask=refuse).listener().report(event)
    shown = capsys.readouterr().out
    assert bool(shown) == bool(event.as_text())
    assert "\x1b" not in shown
    JsonScreen(yes=False, ask=refuse).listener().report(event)
    assert json.loads(capsys.readouterr().out) == {"event": event.kind, **event.as_json()}


def test_only_events_that_may_have_lines_have_them(capsys: pytest.CaptureFixture[str]) -> None:
    screen = TextScreen(yes=False, ask=refuse)
    screen.show_event(Warned(message="one\ntwo"))
    screen.show_event(InstanceLost(name="b-0", witness="ssh", reason="one\ntwo", jobs=()))
    assert capsys.readouterr().out == "warning: one\ntwo\n✗ b-0 is lost: one\\x0atwo\n"
