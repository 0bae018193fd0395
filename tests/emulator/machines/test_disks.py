"""Root folders: skeleton, clones, sealing."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from runner.emulator.machines.disks import (
    LINKED_FROM_BYTES,
    RootClone,
    clone_root,
    copy_image_root,
    make_base_root,
    pool_of,
    remove_root,
    seal_root,
)
from runner.errors import CloudError

LIMIT_S = 60.0
LARGE = b"x" * LINKED_FROM_BYTES


def make_image(root: Path) -> Path:
    """Create an image with a large library, and return the library's path."""
    make_base_root(root, os_name="hpc-rocky-linux-8")
    library = root / "opt/opensees-hpc/lib/libbig.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(LARGE)
    library.chmod(0o755)
    (root / "opt/opensees-hpc/build.log").write_bytes(LARGE)
    seal_root(root)
    return library


LIBRARIES = 4
CLONES = 4
ROUNDS = 6


def make_image_of_libraries(root: Path) -> None:
    """Create a small image that consists mainly of large libraries."""
    (root / "opt").mkdir(parents=True)
    for number in range(LIBRARIES):
        library = root / f"opt/lib{number}.so"
        library.write_bytes(number.to_bytes(2) * LINKED_FROM_BYTES)
        library.chmod(0o755)
    seal_root(root)


def clone_in_rounds(folder: Path, number: int, barrier: Barrier) -> None:
    """Clone each image at the same moment as other processes, and again after the shared files were overwritten."""
    for image in sorted(folder.glob("image-?")):
        barrier.wait(LIMIT_S)
        copy_without_reflinks(image, folder / f"{image.name}-fresh-{number}")
        barrier.wait(LIMIT_S)
        if number < LIBRARIES:
            victim = folder / f"{image.name}-fresh-{number}/opt/lib{number}.so"
            victim.chmod(0o755)
            victim.write_bytes(b"harm")
        barrier.wait(LIMIT_S)
        copy_without_reflinks(image, folder / f"{image.name}-later-{number}")


def copy_without_reflinks(source: Path, target: Path) -> None:
    """Clone as on a file system that cannot share extents."""
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


def test_clone_copies_everything_except_what_belongs_to_the_instance(tmp_path: Path) -> None:
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


def test_an_instance_that_writes_in_place_changes_neither_image_nor_later_clones(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_file_of_the_pool_is_copied_once_for_any_number_of_clones_at_once(tmp_path: Path, kind: str) -> None:
    images = [tmp_path / f"image-{at}" for at in range(ROUNDS)]
    for image in images:
        make_image_of_libraries(image)
    fresh = multiprocessing.get_context("spawn")
    executor: Executor = ThreadPoolExecutor(CLONES) if kind == "threads" else ProcessPoolExecutor(CLONES, fresh)
    with fresh.Manager() as manager, executor as pool:
        barrier = threading.Barrier(CLONES) if kind == "threads" else manager.Barrier(CLONES)
        for task in [pool.submit(clone_in_rounds, tmp_path, number, barrier) for number in range(CLONES)]:
            task.result()
    for image in images:
        for library in sorted((image / "opt").iterdir()):
            clones = {
                age: [tmp_path / f"{image.name}-{age}-{number}/opt" / library.name for number in range(CLONES)]
                for age in ("fresh", "later")
            }
            assert {clone.stat().st_ino for clone in clones["fresh"]} == {clones["fresh"][0].stat().st_ino}
            assert {clone.stat().st_ino for clone in clones["later"]} == {clones["later"][0].stat().st_ino}
            assert clones["later"][0].read_bytes() == library.read_bytes()
        assert not list(pool_of(image).rglob(".*"))


def test_a_copy_that_becomes_an_image_shares_nothing_with_clones(tmp_path: Path) -> None:
    make_image(tmp_path / "image")
    copy_without_reflinks(tmp_path / "image", tmp_path / "clone")
    copy_image_root(tmp_path / "image", tmp_path / "other-image")
    name = "opt/opensees-hpc/lib/libbig.so"
    assert not (tmp_path / "other-image" / name).samefile(tmp_path / "clone" / name)
    assert (tmp_path / "other-image" / name).stat().st_nlink == 1


def test_files_that_a_running_instance_removes_meanwhile_are_left_out_of_the_copy(tmp_path: Path) -> None:
    make_base_root(tmp_path / "disk", os_name="debian-12")
    passing = [tmp_path / f"disk/tmp/{number}" for number in range(2000)]
    for file in passing:
        file.write_text("x")
    with ThreadPoolExecutor(1) as pool:
        removing = pool.map(Path.unlink, passing)
        clone_root(tmp_path / "disk", tmp_path / "copy")
        list(removing)
    assert (tmp_path / "copy/etc/os-release").is_file()


def test_a_root_that_is_not_sealed_shares_nothing(tmp_path: Path) -> None:
    make_base_root(tmp_path / "disk", os_name="debian-12")
    (tmp_path / "disk/opt/big").write_bytes(LARGE)
    clone_root(tmp_path / "disk", tmp_path / "copy")
    assert (tmp_path / "copy/opt/big").stat().st_nlink == 1
    (tmp_path / "copy/opt/big").write_bytes(b"other")
    assert (tmp_path / "disk/opt/big").read_bytes() == LARGE


def test_remove_deletes_the_pool_and_folders_without_write_permission(tmp_path: Path) -> None:
    make_image(tmp_path / "image")
    copy_without_reflinks(tmp_path / "image", tmp_path / "a")
    (tmp_path / "image/home/closed/inner").mkdir(parents=True)
    (tmp_path / "image/home/closed").chmod(0o000)
    (tmp_path / "image/home/link").symlink_to(tmp_path)
    remove_root(tmp_path / "image")
    remove_root(tmp_path / "image")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert (tmp_path / "a/opt/opensees-hpc/lib/libbig.so").read_bytes() == LARGE
