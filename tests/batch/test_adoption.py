"""What a client that attaches takes for ended."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runner.batch.adoption import restore_finished
from runner.batch.controller import Controller
from runner.batch.outcome import read_outcome
from runner.batch.summary import JobOutcome
from runner.context import Context
from runner.jobsfile.definition import Definition
from runner.jobsfile.preflight import JobInputs
from runner.model import names
from runner.model.batch import Expectation, parse_batch
from runner.model.states import JobState
from runner.results.store import ControlObject
from runner.results.tracker import DownloadedSet, DownloadTracker

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
    """Return the folder of job a, whose results were downloaded."""
    tracker = DownloadTracker(tmp_path / "b")
    source = tmp_path / "b" / ".incoming" / "a"
    (source / ".job").mkdir(parents=True)
    (source / ".job" / "end").write_text(ENDED)
    results = DownloadedSet(job="a", attempt=1, push=1, folder=source, files=1, size_bytes=1, crc32c="c")
    return tracker.place(source, results).folder


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


def test_a_job_with_downloaded_results_has_ended(tmp_path: Path, notes: Notes, folder: Path) -> None:
    assert restore(tmp_path, notes) == Heard(restored={"a": JobState.SUCCEEDED})


def test_a_job_with_results_on_another_computer_has_ended(tmp_path: Path, notes: Notes) -> None:
    notes.add("c", JobState.FAILED)
    assert restore(tmp_path, notes) == Heard(restored={"c": JobState.FAILED})


def test_a_folder_that_was_moved_is_known_by_its_note(tmp_path: Path, notes: Notes, folder: Path) -> None:
    folder.rename(tmp_path / "moved")
    notes.add("a", JobState.SUCCEEDED)
    assert restore(tmp_path, notes) == Heard(restored={"a": JobState.SUCCEEDED})


def test_a_job_whose_folder_was_moved_without_a_note_is_not_run_again(
    tmp_path: Path, notes: Notes, folder: Path
) -> None:
    folder.rename(tmp_path / "moved")
    heard = restore(tmp_path, notes)
    assert (heard.restored, list(heard.aside)) == ({}, ["a"])
    assert str(folder) in heard.aside["a"]


@pytest.mark.parametrize(
    "note",
    [
        *(b"", b"[]", b"\xff", b"[" * 1500 + b"]" * 1500, b'{"host": "h", "results": "r", "status": []}'),
        b'{"host": "h", "results": "r", "status": "succeeded", "exit_code": 1e999, "wall_s": 1, "core_s": 1, "message": ""}',
        b'{"host": "h", "results": "r", "status": "succeeded", "exit_code": 0, "wall_s": NaN, "core_s": 1, "message": ""}',
    ],
)
def test_a_corrupt_note_is_ignored(tmp_path: Path, notes: Notes, folder: Path, note: bytes) -> None:
    notes.notes[names.home_marker("c", 99)] = note
    notes.notes[names.home_marker("a", 99)] = note
    assert restore(tmp_path, notes) == Heard(restored={"a": JobState.SUCCEEDED})


def test_a_log_of_one_endless_line_is_read_at_its_end_only(folder: Path) -> None:
    with (folder / "opensees-hpc.log").open("wb") as log:
        log.truncate(8 << 30)  # of zeros, which take no room
        log.seek(0, 2)
        log.write(b"\nlast but one\nlast\r\n")
    assert read_outcome(folder, name="a", expect=Expectation()).last_lines[-2:] == ("last but one", "last")


@pytest.mark.parametrize(
    "end", ["ended 0 0 0 1e999 - -", "ended 0 0 nan 1 - -", "ended " + "9" * 400 + " 0 1 2 - -", "x" * 9999]
)
def test_a_corrupt_end_file_is_ignored(folder: Path, end: str) -> None:
    (folder / ".job" / "end").write_text(end)
    outcome = read_outcome(folder, name="a", expect=Expectation())
    assert (outcome.exit_code, outcome.wall_s) == (None, None)
