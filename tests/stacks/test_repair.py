"""Files of a stack after a full disk or a power cut."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.stacks.repair import repair_stack

WHOLE = json.dumps({"version": 3})
OLDER = json.dumps({"version": 3, "checkpoint": {}})
LOCKS = Path(".pulumi/locks/organization/opensees-hpc-analysis/b")
STATE = Path(".pulumi/stacks/opensees-hpc-analysis/b.json")


def _write(path: Path, text: str, *, age_s: float = 60.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def _mend(folder: Path) -> bool:
    return repair_stack(f"file://{folder}", "analysis", "b")


def test_complete_or_absent_files_stay_as_they_are(tmp_path: Path) -> None:
    assert not _mend(tmp_path)
    lock, state = _write(tmp_path / LOCKS / "1.json", WHOLE), _write(tmp_path / STATE, WHOLE)
    _write(tmp_path / LOCKS / "1.json.attrs", "")
    assert not _mend(tmp_path)
    assert lock.exists()
    assert state.read_text() == WHOLE


@pytest.mark.parametrize("name", ["1.json", "1.json.18ea59cff3965f04.tmp"])
def test_a_lock_that_was_never_complete_is_removed(tmp_path: Path, name: str) -> None:
    other = _write(tmp_path / LOCKS / "2.json", WHOLE)
    broken = _write(tmp_path / LOCKS / name, "")
    assert _mend(tmp_path)
    assert not broken.exists()
    assert other.exists()


def _lock(pid: int, *, host: str = "") -> str:
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.536468886Z"
    return json.dumps({"pid": pid, "username": "me", "hostname": host or socket.gethostname(), "timestamp": at})


def test_a_lock_of_a_dead_engine_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    dead = _write(tmp_path / LOCKS / "1.json", _lock(ended.pid))
    alive = _write(tmp_path / LOCKS / "2.json", _lock(1))
    elsewhere = _write(tmp_path / LOCKS / "3.json", _lock(ended.pid, host="another-host"))
    assert _mend(tmp_path)
    assert (dead.exists(), alive.exists(), elsewhere.exists()) == (False, True, True)


def test_a_lock_that_is_being_written_is_waited_for_and_stays(tmp_path: Path) -> None:
    fresh = _write(tmp_path / LOCKS / "1.json", "", age_s=-60.0)
    writing = threading.Timer(0.2, fresh.write_text, [_lock(1)])
    writing.start()
    assert not _mend(tmp_path)
    writing.join()
    assert fresh.exists()


def test_a_lock_that_was_left_broken_just_now_is_waited_for_and_removed(tmp_path: Path) -> None:
    fresh = _write(tmp_path / LOCKS / "1.json", "", age_s=0.0)
    assert _mend(tmp_path)
    assert not fresh.exists()


def test_a_corrupt_state_is_replaced_by_the_one_before(tmp_path: Path) -> None:
    state = _write(tmp_path / STATE, WHOLE[:5])
    _write(tmp_path / f"{STATE}.bak", OLDER)
    assert _mend(tmp_path)
    assert state.read_text() == OLDER
    assert (tmp_path / f"{STATE}.corrupt").read_text() == WHOLE[:5]


def test_a_corrupt_state_without_a_copy_is_set_aside(tmp_path: Path) -> None:
    state = _write(tmp_path / STATE, "")
    _write(tmp_path / f"{STATE}.bak", "")
    assert _mend(tmp_path)
    assert not state.exists()


def test_a_state_elsewhere_is_not_repaired() -> None:
    assert not repair_stack("gs://bucket", "analysis", "b")
