"""Result sets on their way home, beside plain parallel downloads of the same objects by Google's client library.

    ./bootstrap python -m benchmarks.results [--json] [--sets 200] [--size-mb 1] [--rounds 3] [--listed 1000]

The embedded cloud serves both, in a state folder of the benchmark's own. What is compared is bytes at home: the plain downloads
are not unpacked, checked against a manifest, put on the disk (fsync), recorded, or deleted in the bucket; ours are, and the time
is also given without the deletions. Figures are printed, never judged.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.figures import spread
from runner import wiring
from runner.context import Context
from runner.emulator import control
from runner.model import names
from runner.model.events import Listener
from runner.results import CHUNK_BYTES, THREADS, Checked, Collector, DownloadTracker, copy_checked

START_LIMIT_S = 60.0


def pack(content: bytes) -> tuple[bytes, bytes]:
    """Write an archive of one file, and its manifest."""
    import zstandard

    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo("out.bin")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    archive = zstandard.ZstdCompressor().compress(plain.getvalue())
    listed = {"path": "out.bin", **_as_json(content)}
    return archive, json.dumps({"format": 1, "archive": _as_json(archive), "files": [listed]}).encode()


def _as_json(content: bytes) -> dict[str, Any]:
    found: Checked = copy_checked(io.BytesIO(content), None)
    return {"size": found.size, "crc32c": found.crc32c}


def push_sets(context: Context, batch: str, *, count: int, size_bytes: int) -> None:
    """Create sets of one incompressible file each."""
    write = context.cloud.results.objects.write
    content = os.urandom(size_bytes)

    def push(number: int) -> None:
        prefix = names.result_prefix(batch, f"job-{number:05}", 1)
        archive, manifest = pack(number.to_bytes(8, "big") + content)
        write(prefix + names.RESULTS_ARCHIVE, archive)
        write(prefix + names.MANIFEST, manifest)
        write(prefix + names.COMMIT_MARKER, b"")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(push, range(count)))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def download_plainly(context: Context, batch: str, into: Path) -> None:
    """Time the archives by Google's transfer manager, with as many threads as ours, checked by the library alone."""
    from google.cloud.storage import transfer_manager

    bucket = context.cloud.results.objects._opened()
    archives = [item.archive.name for item in context.cloud.results.result_sets(batch) if item.archive]
    into.mkdir()
    results = transfer_manager.download_many_to_path(
        bucket, archives, destination_directory=str(into), worker_type=transfer_manager.THREAD, max_workers=THREADS
    )
    failures = [result for result in results if isinstance(result, Exception)]
    if failures:
        raise SystemExit(f"plain download: {failures[0]}")


def collect(context: Context, batch: str, into: Path, *, keeps_remote: bool) -> None:
    """Time the same by the collector."""
    collector = Collector(context.cloud.results, batch, DownloadTracker(into), Listener(), keeps_remote=keeps_remote)
    collector.finish(is_over=False)


def measure_downloads(context: Context, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Both in turn, so that a busy machine hurts both alike."""
    plain, kept, whole = [], [], []
    for number in range(args.rounds):
        batch = f"round-{number}"
        push_sets(context, batch, count=args.sets, size_bytes=round(args.size_mb * 1e6))
        plain.append(timed(lambda: download_plainly(context, batch, folder / f"plain-{batch}")))  # noqa: B023
        into = folder / batch
        kept.append(timed(lambda: collect(context, batch, into / "kept", keeps_remote=True)))  # noqa: B023
        whole.append(timed(lambda: collect(context, batch, into / "whole", keeps_remote=False)))  # noqa: B023
    ratios = {"kept": spread(kept)["median"] / spread(plain)["median"]}
    ratios["whole"] = spread(whole)["median"] / spread(plain)["median"]
    return {
        "sets": args.sets,
        "megabytes_each": args.size_mb,
        "threads": THREADS,
        "plain_s": spread(plain),
        "without_deletion_s": spread(kept),
        "with_deletion_s": spread(whole),
        "ratio_without_deletion": round(ratios["kept"], 2),
        "ratio_with_deletion": round(ratios["whole"], 2),
    }


def measure_listing(context: Context, args: argparse.Namespace) -> dict[str, Any]:
    """One look into a bucket with many small sets."""
    push_sets(context, "many", count=args.listed, size_bytes=100)
    looks = [timed(lambda: context.cloud.results.all_sets("many")) for _ in range(args.rounds)]
    return {"sets": args.listed, "objects": 3 * args.listed, "look_s": spread(looks)}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What bringing results home costs.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--sets", type=int, default=200, help="result sets a round")
    parser.add_argument("--size-mb", type=float, default=1.0, help="MB (1e6 bytes) in each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--listed", type=int, default=1000, help="result sets for the listing")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="opensees-hpc-results-") as scratch:
        folder = Path(scratch)
        state = folder / "local" / "cloud"
        control.start(state, timeout_s=START_LIMIT_S)
        try:
            environment = {"OPENSEES_HPC_HOME": scratch, "OPENSEES_HPC_TARGET": "local"}
            context = wiring.make_context(environment, results_folder=folder / "results")
            context.cloud.results.objects._opened().create(location="europe-west4")
            figures = {
                "downloads": measure_downloads(context, folder, args),
                "listing": measure_listing(context, args),
                "chunk_bytes": CHUNK_BYTES,
            }
        finally:
            control.stop(state)
    if args.json:
        print(json.dumps(figures))
        return
    for group, values in figures.items():
        print(f"{group}: {json.dumps(values, indent=2)}")


if __name__ == "__main__":
    main()
