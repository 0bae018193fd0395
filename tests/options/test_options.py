"""Each verb's options become a task of Invoke, and reach the function of that name."""

from __future__ import annotations

import typing
from importlib import import_module

import pytest

import tasks
from runner.options.batches import Cleanup, Run
from runner.options.options import Options

VERBS: list[type[Options]] = [*tasks.VERBS, *tasks.LOCAL_VERBS]


def test_every_verb_is_a_task() -> None:
    assert {*VERBS} == {*Options.__subclasses__()}
    assert {options.verb for options in VERBS} == {*tasks.ns.task_names}


@pytest.mark.parametrize("options", VERBS, ids=[options.verb for options in VERBS])
def test_every_verb_has_a_function_that_takes_its_options(options: type[Options]) -> None:
    module = import_module(options.__module__.replace("runner.options", "runner.cli.verbs"))
    hints = typing.get_type_hints(getattr(module, options.name))
    assert [kind for name, kind in hints.items() if name != "return"] == [options]


def test_flags_come_from_the_fields() -> None:
    task = tasks.ns["cleanup"]
    flags = {argument.name: (argument.kind, argument.help) for argument in task.get_arguments()}
    assert set(flags) == {*Cleanup.signature.parameters}
    assert flags["dry_run"] == (bool, "show the same list, delete nothing")
    assert flags["batch"][0] is str
    assert task.positional == []
    assert tasks.ns["run"].positional == ["jobs"]


def test_a_missing_flag_has_its_default() -> None:
    options = Run(jobs="a.yaml", detach=True)
    assert vars(options) == {
        "jobs": "a.yaml",
        "yes": False,
        "json": False,
        "results": "results",
        "detach": True,
        "debug": False,
    }


def test_a_missing_required_flag_is_an_error() -> None:
    with pytest.raises(TypeError, match="jobs"):
        Run()  # type: ignore[call-arg]
