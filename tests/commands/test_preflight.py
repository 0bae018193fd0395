"""What a jobs file names must be there and lie inside its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.commands.preflight import check_batch
from runner.errors import InputError


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
        ("{name: a, dir: model, main: other.tcl}", "the folder has lib.tcl, link.tcl, main.tcl"),
        ("{name: a, dir: model, include: ['*.dat']}", "matches no file"),
        ("{name: a, dir: model, main: link.tcl}", "leads out of its folder"),
        ("{name: a, dir: model, include: ['*.lnk']}", "leads out of its folder"),
    ],
)
def test_what_is_missing_is_told_with_its_place(tmp_path: Path, model: Path, job: str, words: str) -> None:
    (tmp_path / "secret").write_text("x")
    (model / "link.tcl").symlink_to(tmp_path / "secret")
    (model / "x.lnk").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError) as caught:
        check_batch(_write(tmp_path, f"batch: b\njobs:\n  - {job}\n"))
    assert words in str(caught.value)
    assert caught.value.problems[0].line == 3
    assert caught.value.problems[0].column > 1


def test_a_link_out_of_the_folder_is_not_uploaded_unasked(tmp_path: Path, model: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (model / "leak.tcl").symlink_to(tmp_path / "secret")
    (inputs,) = check_batch(_write(tmp_path, "batch: b\njobs:\n  - {name: a, dir: model}\n")).inputs
    assert "leak.tcl" not in inputs.files


def test_no_jobs_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such jobs file"):
        check_batch(tmp_path / "none.yaml")


def test_a_jobs_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        check_batch(file)
