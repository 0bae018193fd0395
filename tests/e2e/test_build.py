"""``invoke build``: a validated image, the old one deprecated but not deleted, no builder left."""

from __future__ import annotations

import pytest

from tests.e2e.site import Site, read_events

pytestmark = pytest.mark.xdist_group("run")


def test_a_new_image_supersedes_the_old_one(site: Site) -> None:
    before = site.status()["image"]
    done = site.invoke("build", "--yes", "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    events = read_events(done.stdout)
    summary = events[-1]
    after = site.status()
    assert after["image"]["name"] == summary["image"]
    assert before is None or before["name"] != summary["image"]
    assert after["image"]["labels"]["recipe"] == "wheels"
    assert "openseespy" in after["image"]["labels"]
    assert after["vms"] == []
    checks = [event["line"] for event in events if event["event"] == "log" and event["job"] == "validate"]
    assert any(line.startswith("ok") for line in checks)
    assert not any(line.startswith("FAIL") for line in checks)
