"""The lock waits, is shared by readers, locks folders, and notices that its file has been deleted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.system.file_lock import FileLock, waiting_lock

HOLDER = """
import sys
from pathlib import Path
from runner.system.file_lock import FileLock
lock = FileLock.of_file(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_waits_after_a_call_of_on_wait(tmp_path: Path) -> None:
    is_waiting = threading.Event()
    order: list[str] = []

    def come_later() -> None:
        with waiting_lock(tmp_path / "lock", on_wait=is_waiting.set):
            order.append("later")

    with waiting_lock(tmp_path / "lock", on_wait=lambda: order.append("did not wait")):
        later = threading.Thread(target=come_later)
        later.start()
        assert is_waiting.wait(60)
        order.append("first")
    later.join(60)
    assert order == ["first", "later"]


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with FileLock.of_file(file) as lock:
            assert not lock.try_acquire()
            holder.kill()
            holder.wait(60)
            assert lock.try_acquire()


def test_readers_share_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with FileLock.of_file(file) as owner, FileLock.of_existing(file) as one, FileLock.of_existing(file) as other:
        assert one.try_acquire(is_shared=True)
        assert other.try_acquire(is_shared=True)
        assert not owner.try_acquire()
    with FileLock.of_file(file) as owner, FileLock.of_existing(file) as one:
        assert owner.try_acquire()
        assert not one.try_acquire(is_shared=True)


def test_the_content_of_the_file_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text("owner")
    with FileLock.of_file(file) as lock:
        lock.acquire()
        assert os.pread(lock.handle, 99, 0) == b"owner"
    assert file.read_text() == "owner"


def test_a_folder(tmp_path: Path) -> None:
    with FileLock.of_existing(tmp_path) as first, FileLock.of_existing(tmp_path) as second:
        first.acquire()
        assert not second.try_acquire()
        first.release()
        first.release()
        assert second.try_acquire()


def test_a_deleted_file_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with FileLock.of_file(file) as lock:
        assert lock.is_current()
        file.unlink()
        assert not lock.is_current()
        file.touch()
        assert not lock.is_current()


@pytest.mark.parametrize(("mode", "rights"), [(0o600, 0o600), (0o666, 0o640)])
def test_rights_of_a_new_file(tmp_path: Path, mode: int, rights: int) -> None:
    before = os.umask(0o027)
    try:
        FileLock.of_file(tmp_path / "lock", mode=mode).release()
    finally:
        os.umask(before)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == rights
