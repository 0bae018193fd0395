"""Text reaches streams that do not know all of its characters."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runner.output import patient_output


@pytest.mark.parametrize(
    ("encoding", "shown"), [("latin-1", "a ? b \xe9"), ("ascii", "a ? b ?"), ("utf-8", "a \u2502 b \xe9")]
)
def test_a_character_that_the_stream_does_not_know_takes_nothing_else_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    file = tmp_path / "out"
    with file.open("w", encoding=encoding, errors="strict") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with patient_output():
            sys.stdout.write("a \u2502 b \xe9\n")
            sys.stdout.write("and more\n")
    assert file.read_text(encoding=encoding) == f"{shown}\nand more\n"
