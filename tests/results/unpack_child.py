"""Unpacks one archive in a process of its own: ``python -m tests.results.unpack_child ARCHIVE MANIFEST INTO``. Prints what it cost as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import google_crc32c  # noqa: F401 - loaded before memory is measured
import zstandard  # noqa: F401

from runner.model.foreign import decode_json
from runner.results.manifest import CorruptResultsError, read_manifest, unpack_archive

LIMIT_BYTES = 256 << 20  # beside what is there already


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak_bytes() -> int:
    """Of this program: what getrusage says begins with the peak of the one that started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main(archive: Path, manifest: Path, into: Path) -> dict[str, object]:
    """Return what happened, how many seconds it took, and by how many bytes the process grew."""
    limit = _address_space() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before, began = _peak_bytes(), time.monotonic()
    try:
        try:
            values = decode_json(manifest.read_bytes())
        except ValueError as error:
            raise CorruptResultsError(str(error)) from error
        unpack_archive(archive, read_manifest(values), into)
        outcome = ""
    except CorruptResultsError as error:
        outcome = str(error)
    grown = _peak_bytes() - before
    return {"outcome": outcome, "seconds": round(time.monotonic() - began, 2), "grown_bytes": grown}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(Path, sys.argv[1:]))))
