"""Results that arrive damaged in the bucket are seen, told, and pushed again by their VM."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import LIMIT_S, Site, wait_until
from tests.faults.cloud_hand import CloudHand

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


def _damage_before_the_marker(hand: CloudHand, bucket: Bucket, harm: list[str], over: threading.Event) -> None:
    """The marker is held back until the manifest, which comes before it, is there and has been altered."""
    wait_until(lambda: over.is_set() or bucket.blob(MANIFEST).exists(), "the manifest")
    if over.is_set():
        return
    bucket.blob(MANIFEST).upload_from_string(b'{"format": 1}')
    harm.append(MANIFEST)
    hand.clear_faults()


def test_damaged_results_are_pushed_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "main.tcl").write_text(MAIN)
    (tmp_path / "batch.yaml").write_text(JOBS)
    bucket_name = site.status()["bucket"]["name"]  # which starts the cloud
    hand, harm, over = CloudHand(site), list[str](), threading.Event()
    hand.arm({"kind": "http", "match": "POST /upload/.*hurt.*COMMITTED", "status": 503, "times": None})
    hurter = threading.Thread(target=_damage_before_the_marker, args=(hand, hand.bucket(bucket_name), harm, over))
    hurter.start()
    batch = site.run_batch(tmp_path / "batch.yaml", tmp_path / "results")
    over.set()
    hurter.join(LIMIT_S)
    assert batch.exit_code == 0, (batch.summary, batch.stderr)
    assert harm == [MANIFEST]
    states = [event["state"] for event in batch.events if event["event"] == "results" and event["job"] == "hurt"]
    assert [state for state in states if state in ("corrupt", "asked again")] == ["corrupt", "asked again"]
    for name in ("whole", "hurt"):
        assert (tmp_path / "results" / "damaged" / name / "out.txt").read_text() == f"{name}\n"
    assert site.status()["bucket"]["batches"] == []
