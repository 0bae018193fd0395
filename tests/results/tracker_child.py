"""A process that puts sets home and says so: ``python -m tests.results.tracker_child FOLDER PREFIX COUNT``."""

from __future__ import annotations

import sys
from pathlib import Path

from runner.results.tracker import DownloadTracker, HomeSet


def home_set(folder: Path, job: str, attempt: int, *, crc32c: str = "AAAAAA==") -> HomeSet:
    return HomeSet(
        job=job, attempt=attempt, push=1, folder=folder / job, files=1, size_bytes=10 + attempt, crc32c=crc32c
    )


def make_source(folder: Path, home: HomeSet) -> Path:
    """A verified set, not home yet."""
    source = folder / ".incoming" / f"{home.job}.attempt-{home.attempt}"
    source.mkdir(parents=True, exist_ok=True)
    (source / "attempt").write_text(str(home.attempt))
    return source


def main(folder: Path, prefix: str, count: int) -> None:
    tracker = DownloadTracker(folder)
    for number in range(count):
        home = home_set(folder, f"{prefix}{number}", 1)
        tracker.place(make_source(folder, home), home)
        sys.stdout.write(f"{home.job}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
