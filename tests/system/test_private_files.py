"""Our files: complete or absent, created once, and private to their owner with any umask."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from runner.stacks.passphrase import own_passphrase
from runner.system.files import (
    MANY_FILES,
    create_private,
    is_synced_at_once,
    make_private_folder,
    open_private,
    synced_tree,
    tighten,
    write_private,
    write_result,
)

LIMIT_S = 60.0
PROCESSES = 8


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(top: Path) -> dict[str, int]:
    """The rights of everything below, by relative path."""
    return {str(path.relative_to(top)): stat.S_IMODE(path.lstat().st_mode) for path in top.rglob("*")}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_private_files_are_private_with_any_umask(tmp_path: Path, mask: int) -> None:
    with _umask(mask):
        make_private_folder(tmp_path / "a" / "b" / "c")
        write_private(tmp_path / "d" / "e" / "written", b"1")
        create_private(tmp_path / "d" / "f" / "created", b"2")
        open_private(tmp_path / "g" / "h" / "opened").close()
    found = modes(tmp_path)
    files = {"d/e/written", "d/f/created", "g/h/opened"}
    assert found == {path: 0o600 if path in files else 0o700 for path in found}
    assert set(found) == {*files, "a", "a/b", "a/b/c", "d", "d/e", "d/f", "g", "g/h"}, "nothing else is left"


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_results_follow_the_umask(tmp_path: Path, mask: int) -> None:
    with _umask(mask):
        write_result(tmp_path / "a" / "file", b"1")
    assert modes(tmp_path) == {"a": 0o777 & ~mask, "a/file": 0o666 & ~mask}


def test_a_written_file_is_replaced_and_a_created_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "file"
    create_private(file, b"first")
    with pytest.raises(FileExistsError):
        create_private(file, b"second")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "link", b"through a link")
    assert file.read_bytes() == b"first"
    write_private(file, b"third")
    assert file.read_bytes() == b"third"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def _create(file: Path, number: int, barrier: Barrier) -> bool:
    barrier.wait(LIMIT_S)
    try:
        create_private(file, b"%d" % number * 100_000)
    except FileExistsError:
        return False
    return True


def _take_passphrase(file: Path, number: int, barrier: Barrier) -> bytes:
    barrier.wait(LIMIT_S)
    return own_passphrase(file).read_bytes()


def test_one_of_many_processes_creates_the_file(tmp_path: Path) -> None:
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        for round_ in range(10):
            file, barrier = tmp_path / f"file-{round_}", manager.Barrier(PROCESSES)
            created = pool.starmap(_create, [(file, number, barrier) for number in range(PROCESSES)], 1)
            assert created.count(True) == 1
            assert file.read_bytes() == b"%d" % created.index(True) * 100_000
    assert len(list(tmp_path.iterdir())) == 10


def test_many_processes_get_the_same_passphrase(tmp_path: Path) -> None:
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        for round_ in range(10):
            file, barrier = tmp_path / str(round_) / "passphrase", manager.Barrier(PROCESSES)
            taken = pool.starmap(_take_passphrase, [(file, number, barrier) for number in range(PROCESSES)], 1)
            assert set(taken) == {file.read_bytes()}


def test_files_that_an_earlier_version_left_open_are_closed_and_no_others(tmp_path: Path) -> None:
    with _umask(0o022):
        (tmp_path / "ours" / "folder").mkdir(parents=True)
        (tmp_path / "ours" / "folder" / "file").touch()
        (tmp_path / "ours" / "program").touch(mode=0o755)
        (tmp_path / "ours" / "spared" / "root").mkdir(parents=True)
        (tmp_path / "others").touch()
        (tmp_path / "ours" / "link").symlink_to(tmp_path / "others")
    tighten(tmp_path / "ours", spare={tmp_path / "ours" / "spared"})
    found = modes(tmp_path)
    del found["ours/link"]  # has no rights of its own
    assert found == {
        "ours": 0o700,
        "ours/folder": 0o700,
        "ours/folder/file": 0o600,
        "ours/program": 0o700,
        "ours/spared": 0o700,
        "ours/spared/root": 0o755,
        "others": 0o644,
    }


EXT4 = "26 1 {device} / / rw,relatime shared:1 - {kind} /dev/vda rw\n"


@pytest.mark.parametrize(
    ("kind", "release", "at_once"),
    [
        ("ext4", "6.1.0-25-amd64", True),
        ("xfs", "5.14.0-427.el9", True),
        ("ext4", "5.8", True),
        ("ext4", "4.18.0-553.el8_10.x86_64", False),
        ("ext4", "5.7.19", False),
        ("ext4", "unknown", False),
        ("nfs4", "6.1.0", False),
        ("fuse.sshfs", "6.1.0", False),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="syncfs is Linux's")
def test_many_files_are_synced_together_where_errors_are_reported_as_well(
    tmp_path: Path, kind: str, release: str, at_once: bool
) -> None:
    device = tmp_path.stat().st_dev
    mounts = EXT4.format(device="0:1", kind="ext4") + EXT4.format(
        device=f"{os.major(device)}:{os.minor(device)}", kind=kind
    )
    assert is_synced_at_once(tmp_path, mounts, release) is at_once
    assert not is_synced_at_once(tmp_path, "", release)


@pytest.mark.parametrize("count", [MANY_FILES - 1, MANY_FILES + 1])
def test_files_and_folders_are_synced_few_or_many(tmp_path: Path, count: int) -> None:
    synced: list[int] = []
    with synced_tree(tmp_path, on_file=lambda: synced.append(1)):
        for number in range(count):
            (tmp_path / str(number % 7)).mkdir(exist_ok=True)
            (tmp_path / str(number % 7) / str(number)).touch()
    assert len(synced) in (0, count)
    assert len(synced) == count or count >= MANY_FILES


def test_a_sync_can_be_ended_between_two_files(tmp_path: Path) -> None:
    synced: list[int] = []

    def end() -> None:
        synced.append(1)
        if len(synced) == 10:
            raise InterruptedError

    with pytest.raises(InterruptedError), synced_tree(tmp_path, on_file=end):
        for number in range(50):
            (tmp_path / str(number)).touch()
    assert len(synced) == 10


def test_one_of_many_threads_creates_the_file(tmp_path: Path) -> None:
    created: list[int] = []

    def create(number: int) -> None:
        with contextlib.suppress(FileExistsError):
            create_private(tmp_path / "file", b"%d" % number)
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert (tmp_path / "file").read_bytes() == b"%d" % created[0]
    assert len(created) == 1
