"""The download of one result set from the bucket to its folder, in steps between which a crash may occur.

The archive is copied to a working folder (an interrupted copy continues), checked against the server's own CRC32C and the
manifest, and unpacked with each file checked and synced; announced, renamed, recorded; and only then deleted in the bucket,
marker first, and recorded again. The next download continues after the last step that is on the disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.errors import DiskError, NotFoundError, UnreachableError
from runner.results.claims import claimed
from runner.results.manifest import (
    CANCELLED,
    Checked,
    CorruptResultsError,
    Manifest,
    NoRoomError,
    checksum_file,
    holds_files,
    unpack_archive,
)
from runner.results.store import ResultSet, ResultStore
from runner.results.tracker import DownloadedSet, DownloadTracker
from runner.system.files import STAYS_IN_BUCKET, download_error

CORRUPT_TRIES = 3
ROOM_TO_SPARE_BYTES = 16 << 20
STEPS = (
    "claimed",
    "copied",
    "unpacked",
    "announced",
    "renamed",
    "recorded",
    "marker deleted",
    "deleted",
    "deletion recorded",
)


def no_step(step: str, found: ResultSet) -> None:
    """Ignore the step."""
    return None


def _no_bytes(count: int) -> None:
    return None


def _no_check() -> None:
    return None


def _no_set(downloaded: DownloadedSet) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Downloads result sets of one batch. Safe for several threads and processes.

    ``on_step`` gets each of ``STEPS`` when it is done, ``on_bytes`` the number of bytes so far, ``on_downloaded`` each downloaded set
    before it is deleted in the bucket (perhaps again after a crash); ``on_file`` is called before each file that is unpacked.
    What they raise ends the call; it can be repeated.
    ``keeps_remote``: nothing is deleted in the bucket, because another client relies on it.
    """

    store: ResultStore
    tracker: DownloadTracker
    on_step: Callable[[str, ResultSet], None] = no_step
    on_bytes: Callable[[int], None] = _no_bytes
    on_file: Callable[[], None] = _no_check
    on_downloaded: Callable[[DownloadedSet], None] = _no_set
    keeps_remote: bool = False

    def download(self, found: ResultSet) -> DownloadedSet | None:
        """Download a set; None if another thread or process is downloading it, or if it is superseded.

        Raises:
            CorruptResultsError: it is not what its manifest says. It stays in the bucket, nothing of it on the disk.
            DiskError: no room on the disk. It stays in the bucket, nothing of it on the disk. NoRoomError: others may have room.
            NotFoundError: since it was listed it is gone, or has been replaced.
            CloudError: no answer in time; the part that was copied stays for the next call.
        """
        with claimed(self.tracker.folder, f"{found.job}.attempt-{found.attempt}") as work:
            if work is None:
                return None
            self.on_step("claimed", found)
            if self.is_superseded(found):
                if not self.keeps_remote:
                    self.store.delete(found)
                return None
            downloaded = self.find_on_disk(found) or self._download(found, work)
            self.on_downloaded(downloaded)
            if not self.keeps_remote:
                self._delete(found, downloaded)
            return downloaded

    def is_superseded(self, found: ResultSet) -> bool:
        """Return whether it is not needed any more: a later push of the same attempt is downloaded, or another attempt in whose
        favour this one was cancelled."""
        known = self.tracker.find(found.job, found.attempt)
        if known is not None:
            return known.push > found.push
        return self.tracker.is_downloaded(found.job) and self._was_cancelled(found)

    def _was_cancelled(self, found: ResultSet) -> bool:
        try:
            end = self.store.read_manifest(found).end
        except (CorruptResultsError, NotFoundError):
            return False
        return end is not None and end.how == CANCELLED

    def find_on_disk(self, found: ResultSet) -> DownloadedSet | None:
        """Find the set that came from the same archive; None if its folder was removed, so that it is downloaded again."""
        if found.archive is None:
            return None
        same = self.tracker.find_same(found.job, found.attempt, found.archive.size, found.archive.crc32c)
        return same if same is not None and same.folder.is_dir() else None

    def _download(self, found: ResultSet, work: Path) -> DownloadedSet:
        try:
            downloaded = self._fetch(found, work)
        except (CorruptResultsError, DiskError, OSError) as error:
            shutil.rmtree(work, ignore_errors=True)
            if isinstance(error, OSError):
                raise download_error(error, work) from error
            raise
        shutil.rmtree(work, ignore_errors=True)
        return downloaded

    def _fetch(self, found: ResultSet, work: Path) -> DownloadedSet:
        manifest = self.store.read_manifest(found)
        downloaded = self._as_downloaded(found, manifest)
        if (
            downloaded.folder.is_dir()
            and not self.tracker.knows(downloaded.folder)
            and holds_files(downloaded.folder, manifest)
        ):
            return self.tracker.adopt(downloaded)
        generation = found.archive.generation if found.archive else 0
        archive, verified = work / f"archive-{generation}", work / f"verified-{generation}"
        _prepare(work, keep={archive, verified})
        if not verified.is_dir():
            self._unpack(found, manifest, archive, verified)
        return self.tracker.place(verified, downloaded, on_step=lambda step: self.on_step(step, found))

    def _as_downloaded(self, found: ResultSet, manifest: Manifest) -> DownloadedSet:
        """Return the set as it will be on the disk, if what the server says of the archive is what the manifest says."""
        if found.archive is None:
            raise CorruptResultsError(f"{found}: the archive is missing")
        there = Checked(size=found.archive.size, crc32c=found.archive.crc32c)
        if there != manifest.archive:
            raise CorruptResultsError(f"{found}: the archive has {there}, its manifest says {manifest.archive}")
        return DownloadedSet(
            job=found.job,
            attempt=found.attempt,
            push=found.push,
            folder=self.tracker.folder / found.job,
            files=len(manifest.files),
            size_bytes=there.size,
            crc32c=there.crc32c,
        )

    def _unpack(self, found: ResultSet, manifest: Manifest, archive: Path, verified: Path) -> None:
        _require_room(archive, manifest)
        self._copy(found, manifest, archive)
        self.on_step("copied", found)
        fresh = verified.with_name("unpacking")
        try:
            unpack_archive(archive, manifest, fresh, on_file=self.on_file)
        except CorruptResultsError as error:
            raise CorruptResultsError(f"{found}: {error}") from error
        fresh.rename(verified)
        archive.unlink()
        self.on_step("unpacked", found)

    def _copy(self, found: ResultSet, manifest: Manifest, archive: Path) -> None:
        """Download the archive as the server has it: if it was corrupted on the way, fetch it again."""
        for _ in range(CORRUPT_TRIES):
            self.store.copy_archive(found, archive, on_bytes=self.on_bytes)
            if checksum_file(archive) == manifest.archive:
                return
            archive.unlink()
        raise UnreachableError(f"{found}: the archive arrived corrupt {CORRUPT_TRIES} times")

    def _delete(self, found: ResultSet, downloaded: DownloadedSet) -> None:
        self.store.delete_marker(found)
        self.on_step("marker deleted", found)
        self.store.delete_contents(found)
        self.on_step("deleted", found)
        self.tracker.record_deleted(downloaded)
        self.on_step("deletion recorded", found)


def _prepare(work: Path, *, keep: set[Path]) -> None:
    """Remove what another generation, or interrupted unpacking, left in the working folder."""
    try:
        work.mkdir(exist_ok=True)
        for path in work.iterdir():
            if path.is_dir() and path not in keep:
                shutil.rmtree(path)
            elif path not in keep:
                path.unlink()
    except OSError as error:
        raise download_error(error, work) from error


def _require_room(archive: Path, manifest: Manifest) -> None:
    """Check the free space first, so that the disk is not filled by a set that cannot fit. Quotas are only noticed when they are hit."""
    there = archive.stat().st_size if archive.exists() else 0
    needed = manifest.archive.size - there + manifest.unpacked_bytes
    free = shutil.disk_usage(archive.parent).free
    if free < needed + ROOM_TO_SPARE_BYTES:
        raise NoRoomError(
            f"{archive.parent.parent.parent}: {free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB needed",
            remedy=f"make room; {STAYS_IN_BUCKET}",
        )
