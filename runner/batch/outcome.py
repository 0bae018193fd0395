"""How a job ended, read from its downloaded results: what its supervisor on the VM wrote down, and the end of its log."""

from __future__ import annotations

import os
from pathlib import Path

from runner.batch.summary import JobOutcome
from runner.hardware.opensees import LOG_NAME, STATUS_FILE
from runner.hardware.remote_state import End, How, parse_end
from runner.model.batch import Expectation
from runner.model.verdict import EngineEnd, judge, read_engine_end

END_FILE = ".job/end"
STATE_FILES = (END_FILE, STATUS_FILE)  # those of a job's state that are pushed, too
LAST_LINES = 20
LAST_BYTES = 1 << 16  # of the log: a line may be as long as the disk is big
MOST_END_BYTES = 1000


def read_outcome(folder: Path, *, name: str, expect: Expectation, vm: str = "", note: str = "") -> JobOutcome:
    """Return the outcome of a job whose verified results are in ``folder``. ``note`` is added to its message."""
    end = _read_end(folder / END_FILE)
    last_lines = _read_last_lines(folder / LOG_NAME)
    engine = _read_engine_end(folder / STATUS_FILE)
    verdict = judge(
        exit_code=None if end is None else end.exit_code,
        timed_out=end is not None and end.how is How.TIMEOUT,
        last_lines=last_lines,
        expect=expect,
        engine=engine,
    )
    return JobOutcome(
        name=name,
        state=verdict.state,
        exit_code=None if end is None else end.exit_code,
        signal=None if engine is None else engine.signal,
        wall_s=None if end is None else end.wall_s,
        core_s=None if end is None else end.core_s,
        instance=vm,
        results=folder,
        message="; ".join(part for part in (verdict.reason, note) if part),
        last_lines=last_lines,
    )


def _read_end(path: Path) -> End | None:
    try:
        with path.open("rb") as file:
            return parse_end(file.read(MOST_END_BYTES).decode("ascii"))
    except (OSError, ValueError):
        return None


def _read_engine_end(path: Path) -> EngineEnd | None:
    try:
        return read_engine_end(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _read_last_lines(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LAST_BYTES))
            lines = file.read(LAST_BYTES).decode("utf-8", "replace").removesuffix("\n").split("\n")
            return tuple(line.rstrip("\r") for line in lines[-LAST_LINES:]) if size else ()
    except OSError:
        return ()
