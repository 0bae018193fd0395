"""Root folders: the skeleton of a base image, cheap clones, sealing, removal. All functions block: call them in a thread.

How a clone is cheap and an image still safe: where the file system can share extents, every file is a reflink. Elsewhere files are copied, except
large programs and libraries below ``opt`` of a *sealed* root: these are hard links, but never to the image. Sealing creates a pool (``<root>.pool``) beside the
image; the pool gets a read-only copy of such a file when it is first needed, and clones link to that copy. If an instance changes a linked file in place,
even as root, it reaches the pool at most; the next clone sees that size or time differ from the image's and puts a fresh copy into the pool.
Clones of one image lock its pool for each file: replacing a file would otherwise break a clone that is just linking to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import CloudError
from runner.system.file_lock import FileLock
from runner.system.files import remove_tree

SKELETON = Path(__file__).with_name("skeleton")
SKELETON_FOLDERS = (
    *("etc/ssh", "etc/profile.d", "etc/skel", "home", "mnt", "opt", "root", "run", "srv", "tmp"),
    *("usr/bin", "usr/lib", "usr/local/bin", "usr/local/lib", "usr/local/share", "usr/sbin"),
    *("var/cache", "var/google-sudoers.d", "var/lib", "var/log", "var/tmp"),
)
OS_RELEASES = {
    "rocky": """NAME="Rocky Linux"
VERSION="8.10 (Green Obsidian)"
ID="rocky"
ID_LIKE="rhel centos fedora"
VERSION_ID="8.10"
PLATFORM_ID="platform:el8"
PRETTY_NAME="Rocky Linux 8.10 (Green Obsidian)"
""",
    "debian": """PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
""",
    "ubuntu": """PRETTY_NAME="Ubuntu 22.04.5 LTS"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04.5 LTS (Jammy Jellyfish)"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
""",
}
FICLONE = 0x40049409
LINKED_FROM_BYTES = 64 * 1024
LINKED_NAMES = re.compile(r"\.(so(\.\d+)*|a|jar|py|pyc|whl|zip)$")
HOST_KEY_PREFIX = "ssh_host_"


def make_base_root(target: Path, *, os_name: str) -> None:
    """Create the root folder of a base image. ``os_name`` is an image or family name that contains rocky, debian or ubuntu."""
    release = next((text for word, text in OS_RELEASES.items() if word in os_name), None)
    if release is None:
        raise CloudError(f"no base image for {os_name!r}", remedy=f"known: {', '.join(OS_RELEASES)}")
    for folder in SKELETON_FOLDERS:
        (target / folder).mkdir(parents=True, exist_ok=True)
    for folder in ("tmp", "var/tmp"):
        (target / folder).chmod(0o1777)
    (target / "root").chmod(0o700)
    (target / "etc/os-release").write_text(release)
    shutil.copytree(SKELETON, target, dirs_exist_ok=True)


def clone_root(source: Path, target: Path) -> None:
    """Copy a root folder, except what belongs to one instance: SSH host keys and the contents of ``run``.

    Symbolic links to paths inside ``source`` lead to the same paths inside ``target``. Files that an instance running on
    ``source`` removes meanwhile are left out.
    """
    pool = pool_of(source)
    copy_root(source, target, pool if pool.is_dir() else None)


def copy_image_root(source: Path, target: Path) -> None:
    """Copy like ``clone_root``, for a copy that becomes an image: it shares no file with clones, which may change theirs."""
    copy_root(source, target, None)


def copy_root(source: Path, target: Path, pool: Path | None) -> None:
    """Copy a root folder; large files through ``pool`` if there is one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    RootClone(source=source, target=target, pool=pool).copy_folder("")


def seal_root(root: Path) -> None:
    """Declare that this root no longer changes: it is an image, and its clones may share large files. Idempotent."""
    pool_of(root).mkdir(exist_ok=True)


def remove_root(root: Path) -> None:
    """Remove a root and its pool, whatever modes their folders have. No error if they are gone."""
    for folder in (pool_of(root), root):
        remove_tree(folder)


def pool_of(root: Path) -> Path:
    """Return the folder of files that clones of this root may share."""
    return root.with_name(f"{root.name}.pool")


@dataclass(kw_only=True)
class RootClone:
    """A clone in progress."""

    source: Path
    target: Path
    pool: Path | None
    reflinks_work: bool = sys.platform.startswith("linux")

    def copy_folder(self, relative: str) -> None:
        """Copy a folder and all below it."""
        (self.target / relative).mkdir()
        with os.scandir(self.source / relative) as entries:
            for entry in entries:
                path = f"{relative}{os.sep}{entry.name}" if relative else entry.name
                if not is_instance_specific(relative, entry.name):
                    self.copy_if_there(entry, path)
        shutil.copystat(self.source / relative, self.target / relative)

    def copy_if_there(self, entry: os.DirEntry[str], path: str) -> None:
        """Copy an entry, unless it has disappeared since the folder was read."""
        try:
            self.copy_entry(entry, path)
        except FileNotFoundError:
            if os.path.lexists(entry.path):
                raise

    def copy_entry(self, entry: os.DirEntry[str], path: str) -> None:
        """Copy an entry of any type; sockets and devices are left out."""
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            self.copy_folder(path)
        elif stat.S_ISLNK(status.st_mode):
            self.copy_link(entry.path, path)
        elif stat.S_ISREG(status.st_mode):
            self.copy_file(entry.path, path, status)
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(self.target / path, stat.S_IMODE(status.st_mode))

    def copy_link(self, source: str, path: str) -> None:
        """Copy a symbolic link."""
        leads_to = str(Path(source).readlink())
        inside = f"{self.source}{os.sep}"
        if leads_to.startswith(inside):
            leads_to = f"{self.target}{os.sep}{leads_to.removeprefix(inside)}"
        (self.target / path).symlink_to(leads_to)

    def copy_file(self, source: str, path: str, status: os.stat_result) -> None:
        """Copy a regular file in the cheapest way that is safe."""
        target = self.target / path
        if self.reflinks_work and status.st_size:
            self.reflinks_work = reflink(source, target)
            if self.reflinks_work:
                copy_times(target, status)
                return
        if self.pool is not None and path.startswith("opt/") and is_large_program(path, status):
            with locked(self.pool):
                link_from_pool(source, self.pool / path, target, status)
        elif status.st_size < LINKED_FROM_BYTES:
            copy_small(source, str(target), status)
        else:
            shutil.copyfile(source, target)
            copy_times(target, status)


def is_large_program(path: str, status: os.stat_result) -> bool:
    """Return whether a file is worth sharing, and of a kind that is not written to in place (unlike logs, settings, records of jobs)."""
    is_code = bool(status.st_mode & stat.S_IXUSR) or LINKED_NAMES.search(path) is not None
    return is_code and status.st_size >= LINKED_FROM_BYTES


def is_instance_specific(folder: str, name: str) -> bool:
    """Return whether an entry belongs to the instance that wrote it, so that no clone may have it."""
    return folder == "run" or (folder == "etc/ssh" and name.startswith(HOST_KEY_PREFIX))


def copy_times(target: Path, status: os.stat_result) -> None:
    """Give a copy the mode and times of the original."""
    target.chmod(stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_small(source: str, target: str, status: os.stat_result) -> None:
    """Copy a file that fits into one read. There are thousands of them, and this takes half the time of ``shutil``."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(reading, LINKED_FROM_BYTES)
    finally:
        os.close(reading)
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(writing, content)
        os.fchmod(writing, stat.S_IMODE(status.st_mode))
        os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(writing)


def reflink(source: str, target: Path) -> bool:
    """Let ``target`` share the extents of ``source``. Return False, and leave no file, if the file system cannot."""
    with Path(source).open("rb") as reading, target.open("wb") as writing:
        try:
            fcntl.ioctl(writing, FICLONE, reading.fileno())
        except OSError:
            target.unlink()
            return False
    return True


@contextlib.contextmanager
def locked(pool: Path) -> Iterator[None]:
    """Lock the pool among threads and processes."""
    with FileLock.of_existing(pool) as lock:
        lock.acquire()
        yield


def link_from_pool(source: str, pooled: Path, target: Path, status: os.stat_result) -> None:
    """Link to the pool's copy of a file, after replacing a copy that is missing or differs from the image's file.

    Call it with the pool locked: a link to a file whose last name has just been replaced fails.
    """
    if not is_intact(pooled, status):
        pooled.parent.mkdir(parents=True, exist_ok=True)
        fresh = pooled.with_name(f".{uuid.uuid4().hex}")
        shutil.copyfile(source, fresh)
        copy_times(fresh, status)
        fresh.chmod(read_only(status.st_mode))
        fresh.replace(pooled)
    os.link(pooled, target)


def is_intact(pooled: Path, status: os.stat_result) -> bool:
    """Return whether the pool has this file with its original size, time and mode."""
    try:
        found = pooled.stat()
    except OSError:
        return False
    same = (found.st_size, found.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    return same and stat.S_IMODE(found.st_mode) == read_only(status.st_mode)


def read_only(mode: int) -> int:
    """Return the permission bits without write permissions."""
    return stat.S_IMODE(mode) & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
