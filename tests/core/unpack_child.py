"""Unpacks one archive in a process of its own: ``python -m tests.core.unpack_child ARCHIVE MANIFEST INTO``. Prints what it cost as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import google_crc32c  # noqa: F401 - loaded before memory is measured
import zstandard  # noqa: F401

from runner.core.results import CorruptResultsError, read_manifest, unpack_archive
from runner.model.foreign import decode_json

LIMIT_BYTES = 256 << 20  # beside what is there already


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(archive: Path, manifest: Path, into: Path) -> dict[str, object]:
    """What became of it, how many seconds it took, and by how many bytes the process grew."""
    limit = _address_space() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        try:
            values = decode_json(manifest.read_bytes())
        except ValueError as error:
            raise CorruptResultsError(str(error)) from error
        unpack_archive(archive, read_manifest(values), into)
        outcome = ""
    except CorruptResultsError as error:
        outcome = str(error)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"outcome": outcome, "seconds": round(time.monotonic() - began, 2), "grown_bytes": grown}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(Path, sys.argv[1:]))))
