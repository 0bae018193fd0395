"""Undos run newest first, whatever happened, and never hide the first error."""

from __future__ import annotations

import os
import signal

import pytest

from runner.errors import HpcError
from runner.model.events import Event, Listener
from runner.teardown.steps import Interrupted, Steps, raised_signals


def _fail(message: str) -> None:
    raise HpcError(message)


def test_undos_run_newest_first() -> None:
    done: list[str] = []
    with Steps(Listener()) as steps:
        steps.undo("first", lambda: done.append("first"))
        steps.undo("second", lambda: done.append("second"))
    assert done == ["second", "first"]


def test_a_failing_undo_does_not_hide_the_first_error_nor_stop_the_others() -> None:
    done: list[str] = []
    with pytest.raises(ValueError, match="first error") as caught, Steps(Listener()) as steps:
        steps.undo("last", lambda: done.append("last"))
        steps.undo("broken", lambda: _fail("undo failed"))
        raise ValueError("first error")
    assert done == ["last"]
    assert "undo failed" in caught.value.__notes__


def test_a_failing_undo_is_the_error_if_there_was_none() -> None:
    with pytest.raises(HpcError, match="undo failed") as caught, Steps(Listener()) as steps:
        steps.undo("remove the resource", lambda: _fail("undo failed"))
    assert caught.value.__notes__ == ["while trying to remove the resource"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_run_the_undos(signum: signal.Signals) -> None:
    done: list[str] = []
    with pytest.raises(Interrupted) as caught, raised_signals(), Steps(Listener()) as steps:
        steps.undo("end", lambda: done.append("end"))
        os.kill(os.getpid(), signum)
        signal.pause()
    assert done == ["end"]
    assert caught.value.exit_code == 128 + signum


@pytest.mark.parametrize(("signals", "hurries"), [(1, [False]), (2, [False, True])])
def test_signals_while_undoing_are_deferred_and_the_second_makes_it_faster(signals: int, hurries: list[bool]) -> None:
    reported: list[Event] = []
    seen: list[bool] = []

    def interrupted_undo() -> None:
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGINT)
            seen.append(steps.hurry.is_set())

    with Steps(Listener(on_progress=reported.append)) as steps:
        steps.undo("end", interrupted_undo)
    assert seen == hurries
    assert [event.kind for event in reported] == ["warning"] * signals


def test_a_signal_while_undoing_after_a_signal_makes_it_faster() -> None:
    seen: list[bool] = []

    def interrupted_undo() -> None:
        seen.append(steps.hurry.is_set())
        os.kill(os.getpid(), signal.SIGINT)
        seen.append(steps.hurry.is_set())

    with pytest.raises(Interrupted), raised_signals(), Steps(Listener()) as steps:
        steps.undo("end", interrupted_undo)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert seen == [False, True]
