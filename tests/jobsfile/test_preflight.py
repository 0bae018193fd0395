"""What a jobs file names must exist, inside its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import InputError
from runner.jobsfile.preflight import check_batch


def _write(folder: Path, text: str) -> Path:
    file = folder / "batch.yaml"
    file.write_text(text)
    return file


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "records").mkdir(parents=True)
    for name in ("main.tcl", "lib.tcl", "a.cdata", "b.pltbg", "notes.md", "records/r1.txt"):
        (folder / name).write_text("x")
    return folder


def _add_state(model: Path) -> None:
    """What the results of a run hold beside the model's files."""
    (model / ".job").mkdir()
    for name in ("opensees-hpc.log", ".job/limits", ".job/a.tcl"):
        (model / name).write_text("x")


def test_the_usual_files_and_the_included_ones(tmp_path: Path, model: Path) -> None:
    text = "batch: b\njobs:\n  - {name: a, dir: model, include: ['records/*.txt']}\n"
    (inputs,) = check_batch(_write(tmp_path, text)).inputs
    assert inputs.files == ("a.cdata", "b.pltbg", "lib.tcl", "main.tcl", "records/r1.txt")
    assert inputs.size_bytes == 5


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("{name: a, dir: nowhere}", "does not exist"),
        ("{name: a, dir: model/main.tcl}", "is not a folder"),
        ("{name: a, dir: model, main: other.tcl}", "the folder has lib.tcl, link.tcl, main.tcl, records.tcl"),
        ("{name: a, dir: model, include: ['*.dat']}", "matches no file"),
        ("{name: a, dir: model, main: link.tcl}", "leads out of its folder"),
        ("{name: a, dir: model, include: ['*.lnk']}", "leads out of its folder"),
        ("{name: a, dir: model, main: records.tcl}", "is not a file"),
        (f"{{name: a, dir: {'d' * 5000}}}", "File name too long"),
        (f"{{name: a, dir: model, main: {'d' * 5000}.tcl}}", "File name too long"),
        (f"{{name: a, dir: model, include: [{'d' * 5000}]}}", "File name too long"),
        ("{name: a, dir: model, include: [opensees-hpc.log]}", "its own log and state"),
        ("{name: a, dir: model, include: [.job/limits]}", "its own log and state"),
        ("{name: a, dir: model, main: .job/a.tcl}", "its own log and state"),
    ],
)
def test_missing_files_are_reported_with_their_place_in_the_jobs_file(
    tmp_path: Path, model: Path, job: str, words: str
) -> None:
    (tmp_path / "secret").write_text("x")
    (model / "link.tcl").symlink_to(tmp_path / "secret")
    (model / "x.lnk").symlink_to(tmp_path / "secret")
    (model / "records.tcl").mkdir()
    _add_state(model)
    with pytest.raises(InputError) as caught:
        check_batch(_write(tmp_path, f"batch: b\njobs:\n  - {job}\n"))
    assert words in str(caught.value)
    assert caught.value.problems[0].line == 3
    assert caught.value.problems[0].column > 1


def test_a_link_out_of_the_folder_is_uploaded_only_on_request(tmp_path: Path, model: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (model / "leak.tcl").symlink_to(tmp_path / "secret")
    (inputs,) = check_batch(_write(tmp_path, "batch: b\njobs:\n  - {name: a, dir: model}\n")).inputs
    assert "leak.tcl" not in inputs.files


def test_log_and_state_of_an_earlier_run_are_not_uploaded(tmp_path: Path, model: Path) -> None:
    _add_state(model)
    text = "batch: b\njobs:\n  - {name: a, dir: model, include: ['**/*']}\n"
    (inputs,) = check_batch(_write(tmp_path, text)).inputs
    assert inputs.files == ("a.cdata", "b.pltbg", "lib.tcl", "main.tcl", "notes.md", "records/r1.txt")


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("main.tcl", "{name: a, dir: model}"),
        ("lib.tcl", "{name: a, dir: model}"),
        ("notes.md", "{name: a, dir: model, include: ['*.md']}"),
    ],
)
def test_a_file_that_may_not_be_read(
    tmp_path: Path, model: Path, name: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = os.access  # root may read everything, so the test refuses it
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != model / name and ask(path, mode))
    with pytest.raises(InputError, match=f"{name} cannot be read: no permission") as caught:
        check_batch(_write(tmp_path, f"batch: b\njobs:\n  - {job}\n"))
    assert caught.value.problems[0].line == 3


def test_no_jobs_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such jobs file"):
        check_batch(tmp_path / "none.yaml")


def test_a_jobs_file_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        check_batch(file)
