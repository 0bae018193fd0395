"""Results that arrive corrupted in the bucket are detected, reported, and pushed again by their VM."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import LIMIT_S, Site, wait_until
from tests.faults.cloud_control import CloudControl

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

pytestmark = pytest.mark.xdist_group("faults")

JOBS = """\
batch: damaged
jobs:
  - {name: whole, dir: m, args: [whole]}
  - {name: hurt, dir: m, args: [hurt]}
"""
MAIN = """\
set f [open out.txt w]
puts $f [lindex $argv 0]
close $f
"""
MANIFEST = "damaged/hurt/attempt-1/manifest.json"


def _corrupt_before_the_marker(
    control: CloudControl, bucket: Bucket, corrupted: list[str], over: threading.Event
) -> None:
    """Hold the marker back until the manifest, which comes before it, has arrived and has been altered."""
    wait_until(lambda: over.is_set() or bucket.blob(MANIFEST).exists(), "the manifest")
    if over.is_set():
        return
    bucket.blob(MANIFEST).upload_from_string(b'{"format": 1}')
    corrupted.append(MANIFEST)
    control.clear_faults()


def test_damaged_results_are_pushed_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "main.tcl").write_text(MAIN)
    (tmp_path / "batch.yaml").write_text(JOBS)
    bucket_name = site.status()["bucket"]["name"]  # this starts the cloud
    control, corrupted, over = CloudControl(site), list[str](), threading.Event()
    control.arm({"kind": "http", "match": "POST /upload/.*hurt.*COMMITTED", "status": 503, "times": None})
    corrupter = threading.Thread(
        target=_corrupt_before_the_marker, args=(control, control.bucket(bucket_name), corrupted, over)
    )
    corrupter.start()
    batch = site.run_batch(tmp_path / "batch.yaml", tmp_path / "results")
    over.set()
    corrupter.join(LIMIT_S)
    assert batch.exit_code == 0, (batch.summary, batch.stderr)
    assert corrupted == [MANIFEST]
    states = [event["state"] for event in batch.events if event["event"] == "results" and event["job"] == "hurt"]
    assert [state for state in states if state in ("corrupt", "asked again")] == ["corrupt", "asked again"]
    for name in ("whole", "hurt"):
        assert (tmp_path / "results" / "damaged" / name / "out.txt").read_text() == f"{name}\n"
    assert site.status()["bucket"]["batches"] == []
