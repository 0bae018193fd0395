"""Root folders: skeleton, clones, sealing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.emulator.machines.disks import (
    LINKED_FROM_BYTES,
    RootClone,
    clone_root,
    make_base_root,
    pool_of,
    remove_root,
    seal_root,
)
from runner.errors import CloudError

LARGE = b"x" * LINKED_FROM_BYTES


def make_image(root: Path) -> Path:
    """An image with a large library, and returns the path of that."""
    make_base_root(root, os_name="hpc-rocky-linux-8")
    library = root / "opt/opensees-hpc/lib/libbig.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(LARGE)
    library.chmod(0o755)
    (root / "opt/opensees-hpc/build.log").write_bytes(LARGE)
    seal_root(root)
    return library


def copy_without_reflinks(source: Path, target: Path) -> None:
    """A clone as it is made where the file system shares no extents."""
    RootClone(source=source, target=target, pool=pool_of(source), reflinks_work=False).copy_folder("")


def test_base_roots(tmp_path: Path) -> None:
    for name, word in {"debian-12": "bookworm", "hpc-rocky-linux-8": "rocky", "ubuntu-2204": "jammy"}.items():
        root = tmp_path / name
        make_base_root(root, os_name=name)
        assert word in (root / "etc/os-release").read_text()
        assert os.access(root / "usr/bin/sudo", os.X_OK)
        assert {"home", "opt", "tmp", "var"} <= {path.name for path in root.iterdir()}
    with pytest.raises(CloudError, match="plan9"):
        make_base_root(tmp_path / "other", os_name="plan9")


def test_clone_copies_everything_but_what_is_the_machines_own(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep/target"
    make_base_root(source, os_name="debian-12")
    (source / "etc/ssh/ssh_host_ed25519_key").write_text("secret")
    (source / "run/init.pid").write_text("1")
    (source / "home/new\nline").mkdir(mode=0o750)
    (source / "home/new\nline/script").write_text("text")
    (source / "home/new\nline/script").chmod(0o711)
    os.utime(source / "home/new\nline/script", ns=(1, 12345))
    (source / "home/absolute").symlink_to(source / "opt")
    (source / "home/relative").symlink_to("../opt")
    (source / "home/dangling").symlink_to("/nowhere")
    os.mkfifo(source / "tmp/fifo")
    clone_root(source, target)
    assert not (target / "etc/ssh/ssh_host_ed25519_key").exists()
    assert list((target / "run").iterdir()) == []
    copied = (target / "home/new\nline/script").stat()
    assert (copied.st_mode & 0o777, copied.st_mtime_ns) == (0o711, 12345)
    assert (target / "home/new\nline").stat().st_mode & 0o777 == 0o750
    assert (target / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (target / "home/absolute").readlink() == target / "opt"
    assert (target / "home/relative").readlink() == Path("../opt")
    assert (target / "home/dangling").readlink() == Path("/nowhere")
    assert (target / "tmp/fifo").is_fifo()


def test_clones_of_an_image_share_large_files_but_not_with_the_image(tmp_path: Path) -> None:
    library = make_image(tmp_path / "image")
    clones = [tmp_path / name / "opt/opensees-hpc/lib/libbig.so" for name in ("a", "b")]
    for name in ("a", "b"):
        copy_without_reflinks(tmp_path / "image", tmp_path / name)
    assert clones[0].samefile(clones[1])
    assert not clones[0].samefile(library)
    assert clones[0].stat().st_mode & 0o777 == 0o555
    for own in ("usr/bin/sudo", "opt/opensees-hpc/build.log"):
        assert len({(tmp_path / name / own).stat().st_ino for name in ("image", "a", "b")}) == 3


def test_a_machine_that_writes_in_place_harms_neither_image_nor_later_clones(tmp_path: Path) -> None:
    library = make_image(tmp_path / "image")
    copy_without_reflinks(tmp_path / "image", tmp_path / "a")
    victim = tmp_path / "a/opt/opensees-hpc/lib/libbig.so"
    victim.chmod(0o755)
    with victim.open("r+b") as stream:
        stream.write(b"harm")
    assert library.read_bytes() == LARGE
    copy_without_reflinks(tmp_path / "image", tmp_path / "b")
    assert (tmp_path / "b/opt/opensees-hpc/lib/libbig.so").read_bytes() == LARGE
    assert victim.read_bytes().startswith(b"harm")


def test_a_root_that_is_not_sealed_shares_nothing(tmp_path: Path) -> None:
    make_base_root(tmp_path / "disk", os_name="debian-12")
    (tmp_path / "disk/opt/big").write_bytes(LARGE)
    clone_root(tmp_path / "disk", tmp_path / "copy")
    assert (tmp_path / "copy/opt/big").stat().st_nlink == 1
    (tmp_path / "copy/opt/big").write_bytes(b"other")
    assert (tmp_path / "disk/opt/big").read_bytes() == LARGE


def test_remove_takes_the_pool_and_folders_that_forbid_it(tmp_path: Path) -> None:
    make_image(tmp_path / "image")
    copy_without_reflinks(tmp_path / "image", tmp_path / "a")
    (tmp_path / "image/home/closed/inner").mkdir(parents=True)
    (tmp_path / "image/home/closed").chmod(0o000)
    (tmp_path / "image/home/link").symlink_to(tmp_path)
    remove_root(tmp_path / "image")
    remove_root(tmp_path / "image")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert (tmp_path / "a/opt/opensees-hpc/lib/libbig.so").read_bytes() == LARGE
