"""Lines are complete or absent, even after a crash or a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.system.line_file import LineFile, read_last_line
from tests.disks import largest_file


def test_a_line_that_was_cut_off_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    with LineFile(path) as file:
        file.append(b"three\n")
        file.append(b"four\n")
    assert path.read_bytes() == b"one\ntw\nthree\nfour\n"
    assert read_last_line(path) == b"four"


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\n")
    with LineFile(path) as file:
        with largest_file(6), pytest.raises(OSError, match="File too large"):
            file.append(b"two and more\n")
        assert path.read_bytes() == b"one\n"
        file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_closed_file_accepts_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.touch()
    file = LineFile(path)
    file.close()
    file.close()
    with pytest.raises(OSError, match="closed"):
        file.append(b"late\n")


def test_no_file_has_no_last_line(tmp_path: Path) -> None:
    assert read_last_line(tmp_path / "none") == b""
