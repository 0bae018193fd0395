"""A process that puts sets into their folders and reports it: ``python -m tests.results.tracker_child FOLDER PREFIX COUNT``."""

from __future__ import annotations

import sys
from pathlib import Path

from runner.results.tracker import DownloadedSet, DownloadTracker


def home_set(folder: Path, job: str, attempt: int, *, crc32c: str = "AAAAAA==") -> DownloadedSet:
    return DownloadedSet(
        job=job, attempt=attempt, push=1, folder=folder / job, files=1, size_bytes=10 + attempt, crc32c=crc32c
    )


def make_source(folder: Path, downloaded: DownloadedSet) -> Path:
    """A verified set, not in its folder yet."""
    source = folder / ".incoming" / f"{downloaded.job}.attempt-{downloaded.attempt}"
    source.mkdir(parents=True, exist_ok=True)
    (source / "attempt").write_text(str(downloaded.attempt))
    return source


def main(folder: Path, prefix: str, count: int) -> None:
    tracker = DownloadTracker(folder)
    for number in range(count):
        downloaded = home_set(folder, f"{prefix}{number}", 1)
        tracker.place(make_source(folder, downloaded), downloaded)
        sys.stdout.write(f"{downloaded.job}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
