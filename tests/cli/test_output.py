"""Output reaches streams that cannot encode all of its characters, and streams that are closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.output import queued_output


@pytest.mark.parametrize(
    ("encoding", "shown"), [("latin-1", "a ? b \xe9"), ("ascii", "a ? b ?"), ("utf-8", "a \u2502 b \xe9")]
)
def test_a_character_that_the_stream_cannot_encode_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    file = tmp_path / "out"
    with file.open("w", encoding=encoding, errors="strict") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with queued_output():
            sys.stdout.write("a \u2502 b \xe9\n")
            sys.stdout.write("and more\n")
    assert file.read_text(encoding=encoding) == f"{shown}\nand more\n"


CLOSED = """
import os, sys
from runner.cli.output import open_closed_streams
open_closed_streams()
print("out")
print("err", file=sys.stderr)
open_closed_streams()
with open(os.devnull) as file:
    assert file.fileno() > 2
    assert all(os.get_inheritable(number) for number in (0, 1, 2))
sys.exit(7 if sys.stdin.read() == "" else 1)
"""


@pytest.mark.parametrize(
    ("closing", "out", "err"), [(">&-", "", "err\n"), ("2>&-", "out\n", ""), ("<&- >&- 2>&-", "", "")]
)
def test_closed_streams_are_discarded(closing: str, out: str, err: str) -> None:
    words = [sys.executable, "-c", CLOSED]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {closing}', "bash", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, out, err)
