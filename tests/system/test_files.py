"""Errors of a disk, with a remedy that fits and with what the caller adds."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runner.errors import DiskError
from runner.stacks.files import StackFiles
from runner.stacks.passphrase import own_passphrase
from runner.system.file_lock import waiting_lock
from runner.system.files import disk_error, disk_errors_mapped, download_error, require_folder
from tests.disks import largest_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "raise the quota"),
        (errno.EROFS, "that you may write to"),
        (errno.EACCES, "that you may write to"),
        (errno.ENOTDIR, "move it away"),
        (errno.ENAMETOOLONG, "a shorter path"),
    ],
)
def test_the_remedy_fits_the_error_of_the_disk(tmp_path: Path, number: int, words: str) -> None:
    error = disk_error(OSError(number, os.strerror(number), "the file"), tmp_path / "x", more="and this")
    assert error.message == f"cannot write below {tmp_path}: {os.strerror(number)}: the file"
    assert words in error.remedy
    assert error.remedy.endswith("; and this")


def test_only_errors_about_results_mention_the_bucket(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "bucket" in download_error(full, tmp_path).remedy
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    files = StackFiles(infra=ROOT / "infra", work=blocked, project="analysis")
    for act in (
        lambda: own_passphrase(blocked / "passphrase"),
        lambda: waiting_lock(blocked / "lock").__enter__(),
        lambda: files.prepare(),
        lambda: files.write_settings("b1", {}),
        lambda: require_folder(blocked),
    ):
        with pytest.raises(DiskError) as caught:
            act()
        assert "bucket" not in f"{caught.value}{caught.value.remedy}"
        assert "move it away" in caught.value.remedy


def test_a_passphrase_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "passphrase").mkdir()
    with pytest.raises(DiskError, match="Is a directory"):
        own_passphrase(tmp_path / "passphrase")


def test_a_folder_is_required_to_be_writable(tmp_path: Path) -> None:
    require_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    with pytest.raises(DiskError):
        require_folder(Path("/proc/self/fd/folder"), more="x")


def test_a_full_disk(tmp_path: Path) -> None:
    with (
        largest_file(1),
        pytest.raises(DiskError, match="File too large") as caught,
        disk_errors_mapped(tmp_path / "x", more="y"),
        (tmp_path / "x").open("wb", buffering=0) as file,
    ):
        file.write(b"ab")
        file.write(b"c")
    assert caught.value.remedy == "make room or raise the quota; y"
