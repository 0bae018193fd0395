"""What a client that attaches takes for ended."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runner.commands.adoption import restore_finished
from runner.commands.context import Context
from runner.commands.controller import Controller
from runner.commands.definition import Definition
from runner.commands.preflight import JobInputs
from runner.commands.summary import JobOutcome
from runner.core.download_tracker import DownloadTracker, HomeSet
from runner.core.storage import ControlObject
from runner.model import names
from runner.model.batch import parse_batch
from runner.model.states import JobState

ENDED = "ended 0 0 10.5 12.75 0m1.500s 0m0.250s\n"


@dataclass(kw_only=True)
class Notes:
    """The bucket's control objects."""

    notes: dict[str, bytes] = field(default_factory=dict)

    def list_control(self, batch: str) -> list[str]:
        return list(self.notes)

    def get_control(self, batch: str, name: str) -> ControlObject | None:
        return ControlObject(content=self.notes[name], generation=1)

    def add(self, job: str, state: JobState) -> None:
        outcome = JobOutcome(name=job, state=state, results=Path("/there"), exit_code=0)
        self.notes[names.home_marker(job, 1)] = json.dumps({"host": "here", **outcome.as_json()}).encode()


@dataclass(kw_only=True)
class Heard:
    """A controller that only remembers."""

    restored: dict[str, JobState] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)

    def set_aside(self, outcome: JobOutcome) -> None:
        if outcome.state is JobState.LOST:
            self.aside[outcome.name] = outcome.message
        else:
            self.restored[outcome.name] = outcome.state


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of job a, whose results came home."""
    tracker = DownloadTracker(tmp_path / "b")
    source = tmp_path / "b" / ".incoming" / "a"
    (source / ".job").mkdir(parents=True)
    (source / ".job" / "end").write_text(ENDED)
    home = HomeSet(job="a", attempt=1, push=1, folder=source, files=1, size_bytes=1, crc32c="c")
    return tracker.place(source, home).folder


def restore(tmp_path: Path, notes: Notes) -> Heard:
    batch = parse_batch("batch: b\njobs: [{name: a, dir: d}, {name: c, dir: d}]\n", tmp_path / "b.yaml")
    inputs = tuple(JobInputs(job=job, files=(), size_bytes=0) for job in batch.jobs)
    definition = SimpleNamespace(inputs=inputs, plan=SimpleNamespace(batch="b"))
    heard = Heard()
    restore_finished(
        cast(Context, SimpleNamespace(cloud=SimpleNamespace(results=notes))),
        cast(Definition, definition),
        DownloadTracker(tmp_path / "b"),
        cast(Controller, heard),
    )
    return heard


def test_what_is_at_home_has_ended(tmp_path: Path, notes: Notes, folder: Path) -> None:
    assert restore(tmp_path, notes) == Heard(restored={"a": JobState.SUCCEEDED})


def test_what_is_at_home_elsewhere_has_ended(tmp_path: Path, notes: Notes) -> None:
    notes.add("c", JobState.FAILED)
    assert restore(tmp_path, notes) == Heard(restored={"c": JobState.FAILED})


def test_a_folder_that_was_moved_is_known_by_its_note(tmp_path: Path, notes: Notes, folder: Path) -> None:
    folder.rename(tmp_path / "moved")
    notes.add("a", JobState.SUCCEEDED)
    assert restore(tmp_path, notes) == Heard(restored={"a": JobState.SUCCEEDED})


def test_a_folder_that_was_moved_without_a_note_is_not_made_again(tmp_path: Path, notes: Notes, folder: Path) -> None:
    folder.rename(tmp_path / "moved")
    heard = restore(tmp_path, notes)
    assert (heard.restored, list(heard.aside)) == ({}, ["a"])
    assert str(folder) in heard.aside["a"]
